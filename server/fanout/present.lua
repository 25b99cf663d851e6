#!lua flags=allow-oom
-- A node says how many viewers a room has on it; the sum over all nodes is told when it changes.
--
-- KEYS  nodes
-- ARGV  1 channel, 2 node, 3 its viewers, 4 lease in ms
-- Returns the sum.

local nodes = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

if tonumber(ARGV[3]) > 0 then
  local ends = string.format('%.0f', now + tonumber(ARGV[4]))
  redis.call('HSET', nodes, 'n:' .. ARGV[2], ends .. ' ' .. ARGV[3])
else
  redis.call('HDEL', nodes, 'n:' .. ARGV[2])
end

local told, total = 0, 0
local all = redis.call('HGETALL', nodes)
for i = 1, #all, 2 do
  if all[i] == 'total' then
    told = tonumber(all[i + 1])
  else
    local ends, count = string.match(all[i + 1], '^(%d+) (%d+)$')
    if tonumber(ends) > now then
      total = total + tonumber(count)
    else
      redis.call('HDEL', nodes, all[i])
    end
  end
end

if total == 0 then
  redis.call('UNLINK', nodes)
else
  redis.call('HSET', nodes, 'total', total)
  redis.call('PEXPIRE', nodes, ARGV[4])
end
if total ~= told then
  redis.call('SPUBLISH', ARGV[1], '{"here":' .. string.format('%.0f', total) .. '}')
end
return total
