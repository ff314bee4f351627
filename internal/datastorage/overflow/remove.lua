-- Removes entries whose events PostgreSQL has. KEYS: stream, digests. ARGV: for
-- each its entry and its event's id. An entry that is gone already was removed, with
-- its digest, by another process, so the digest now there is not its own.
local removed = 0
for i = 1, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('HDEL', KEYS[2], ARGV[i + 1])
    removed = removed + 1
  end
end
return removed
