// Package service is what every process of Kubernaut needs once: a log, the
// servers that answer over HTTP, certificates that are taken up when they change,
// and an orderly end.
package service
