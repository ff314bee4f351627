-- Parks events, all or none. KEYS: stream, digests. ARGV: capacity, then for each
-- event its id, digest, content, actor type, actor id and time of receipt.
local FIELDS = 6
local fresh, seen, conflicts = {}, {}, {}
for i = 2, #ARGV, FIELDS do
  local known = seen[ARGV[i]] or redis.call('HGET', KEYS[2], ARGV[i])
  if not known then
    seen[ARGV[i]] = ARGV[i + 1]
    fresh[#fresh + 1] = i
  elseif known ~= ARGV[i + 1] then
    conflicts[#conflicts + 1] = ARGV[i]
  end
end
if #conflicts > 0 then
  return {'conflict', conflicts}
end
if redis.call('HLEN', KEYS[2]) + #fresh > tonumber(ARGV[1]) then
  return {'full', {}}
end
for _, i in ipairs(fresh) do
  redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'content', ARGV[i + 2],
    'actor_type', ARGV[i + 3], 'actor_id', ARGV[i + 4], 'received_at', ARGV[i + 5])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return {'parked', {}}
