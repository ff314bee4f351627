// Package overflow parks audit events in Redis while PostgreSQL is away, and moves
// them there as soon as it is back. It implements datastorage.Overflow.
//
// Three keys hold everything. A stream has one entry an event, in the order of
// arrival; a hash has the digest of each event in the stream, by id, and makes a
// second parking of the same event harmless; a second stream has what PostgreSQL
// will never take, with the reason. Each step is one Lua script, so there is no
// moment at which the keys disagree. Nothing is trimmed: an entry leaves when
// PostgreSQL has its event, or for the second stream, where it keeps its id.
//
// Redrive has no consumer group and no leader. Every replica takes the oldest entries;
// two at the same ones wait for each other in PostgreSQL, where the second finds them
// kept, and of two removals one does nothing. A group would save that repetition and
// would need owners, time limits and a taking over of what the dead had claimed.
//
// A Redis that does not write each command to its disk before it answers, or that may
// evict keys, is refused. It must be one server: a replica that takes over may lack
// what was acknowledged last.
package overflow
