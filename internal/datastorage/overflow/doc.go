// Package overflow parks audit events in Redis while PostgreSQL is away, and moves
// them there as soon as it is back. It implements datastorage.Overflow.
//
// Three keys hold everything. A stream has one entry an event, in the order of
// arrival; a hash has the digest of each event in the stream, by id, and makes a
// second parking of the same event harmless; a second stream has what PostgreSQL
// will never take, with the reason. Each step is one Lua script, so there is no
// moment at which the keys disagree. Nothing is trimmed: an entry leaves when
// PostgreSQL has its event, or for the second stream.
package overflow
