// Package readiness waits until Kubernetes objects are ready, and says why one
// will not be.
//
//	objects ──► Wait ──► watches (object, its pods, its warnings) ──► ready
//	                                                            └──► *Failure: cause and evidence
//
// Nothing is polled. What is certainly hopeless (an image that cannot be had, a
// container that crashes again and again, a Secret that does not exist) ends
// the wait early; what is only slow is waited for, and named.
package readiness
