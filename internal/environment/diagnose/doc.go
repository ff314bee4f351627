// Package diagnose names the root causes of what does not come up.
//
//	Snapshot ──► Of ──► Diagnosis: code, sentence, evidence, next command
//
// A snapshot is what was observed: objects, events, logs, nodes, failed steps.
// Each rule looks for the proof of one cause; what follows from another cause
// is not reported. The package is pure: package observe fills the snapshot.
package diagnose
