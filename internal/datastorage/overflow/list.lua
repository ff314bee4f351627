-- Reads entries of a stream. KEYS: stream. ARGV: from where, at most how many, and at
-- most how many bytes of content, except that the first always fits. Returns of each
-- its place, then names and values.
local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local found, from = {}, ARGV[1]
while #found < most do
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(32, most - #found))
  if #some == 0 then
    return found
  end
  for _, entry in ipairs(some) do
    room = room - #(entry[2][4] or '')
    if #found > 0 and room < 0 then
      return found
    end
    found[#found + 1] = {entry[1], unpack(entry[2])}
    from = '(' .. entry[1]
  end
end
return found
