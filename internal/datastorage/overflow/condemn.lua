-- Moves one entry that can never be delivered to the second stream. KEYS: stream,
-- poison. ARGV: the entry, the reason, the time. The entry keeps its fields, and its
-- digest stays: the event was acknowledged, so its id is taken.
redis.call('XLEN', KEYS[2]) -- fails before anything is written if it is no stream
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then
  return 0
end
local fields = entry[2]
fields[#fields + 1] = 'reason'
fields[#fields + 1] = ARGV[2]
fields[#fields + 1] = 'condemned_at'
fields[#fields + 1] = ARGV[3]
redis.call('XDEL', KEYS[1], ARGV[1]) -- first: without memory Redis refuses a script that begins with XADD
redis.call('XADD', KEYS[2], '*', unpack(fields))
return 1
