-- Moves one entry that can never be delivered to the second stream. KEYS: stream,
-- digests, poison. ARGV: the entry, the reason, the time. The entry keeps its fields.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then
  return 0
end
local fields = found[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'id' then
    redis.call('HDEL', KEYS[2], fields[i + 1])
  end
end
fields[#fields + 1] = 'reason'
fields[#fields + 1] = ARGV[2]
fields[#fields + 1] = 'condemned_at'
fields[#fields + 1] = ARGV[3]
redis.call('XADD', KEYS[3], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
