-- Removes entries and their digests. KEYS: stream, digests. ARGV: entries. One that
-- is gone already was removed, with its digest, by another process, so the digest
-- now there is not its own. Returns how many were there.
local removed = 0
for _, place in ipairs(ARGV) do
  local entry = redis.call('XRANGE', KEYS[1], place, place)[1]
  if entry then
    redis.call('XDEL', KEYS[1], place)
    redis.call('HDEL', KEYS[2], entry[2][2])
    removed = removed + 1
  end
end
return removed
