-- Moves poisoned entries back to the end of the stream. KEYS: poison, stream. ARGV:
-- entries. Their digests have stayed. Returns how many were there.
redis.call('XLEN', KEYS[2]) -- fails before anything is written if it is no stream
local moved = 0
for _, place in ipairs(ARGV) do
  local entry = redis.call('XRANGE', KEYS[1], place, place)[1]
  if entry then
    local fields = {}
    for i = 1, #entry[2], 2 do
      if entry[2][i] ~= 'reason' and entry[2][i] ~= 'condemned_at' then
        fields[#fields + 1] = entry[2][i]
        fields[#fields + 1] = entry[2][i + 1]
      end
    end
    redis.call('XDEL', KEYS[1], place)
    redis.call('XADD', KEYS[2], '*', unpack(fields))
    moved = moved + 1
  end
end
return moved
