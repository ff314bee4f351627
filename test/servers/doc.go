// Package servers runs real servers for tests: the PostgreSQL and the Redis that
// Debian packages, as an unprivileged user, in their own folders and on their own
// ports. They end with the test, and also when the test program is killed.
//
// Nothing is synced to the disk: what a killed process has written stays with the
// kernel, so `Kill` tests what a crash of the server tests.
package servers
