// Package simulation runs the real controller in a model of its world and looks
// for an interleaving that breaks what it promises.
//
//	rapid ──► one step at a time ──► replicas of the controller ──► model of the
//	                            └──► users, Tekton, the kubelet ──► API server
//
// Nothing runs by itself: whatever a controller asks of the API server is a point
// at which it is paused, and the next step may be anybody's. A replica may read
// from a cache that is behind, lose an answer, meet a conflict, crash, or sleep
// for a day between two of its requests. What the controller promises is checked
// whenever an object changes, and at the end, when nothing fails any more,
// everything that can finish has to.
//
// The model of the API server is held to the real one by doing the same to both,
// and the promises are held to their worth by taking the guards of the controller
// away one by one: each time a promise has to break.
package simulation
