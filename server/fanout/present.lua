#!lua flags=allow-oom
-- A node says which viewers of a room it has; when that changes, what all nodes say is told.
--
-- KEYS  nodes
-- ARGV  1 channel, 2 node, 3 its viewers ("" to say nothing and only look who fell silent),
--       4 "<name of the node as JSON>:<what it says as JSON>", 5 lease in ms
-- Returns {what all nodes say as JSON, ms until the first lease of another node ends or -1}.
--
-- JSON is only joined, never decoded: a Lua table cannot tell [] from {}.

local nodes, mine = KEYS[1], 'n:' .. ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = tonumber(ARGV[5])
local changed = false

if ARGV[3] ~= '' then
  local said = tonumber(ARGV[3]) > 0 and ARGV[3] .. ' ' .. ARGV[4] or nil
  local before = redis.call('HGET', nodes, mine)
  changed = (before and string.match(before, '^%d+ (.*)$') or nil) ~= said
  if said then
    redis.call('HSET', nodes, mine, string.format('%.0f', now + lease) .. ' ' .. said)
  elseif before then
    redis.call('HDEL', nodes, mine)
  end
end

local total, pieces, soonest = 0, {}, -1
local all = redis.call('HGETALL', nodes)
for i = 1, #all, 2 do
  local ends, count, piece = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
  local left = tonumber(ends) - now
  if left <= 0 then
    redis.call('HDEL', nodes, all[i])
    changed = true
  else
    total = total + tonumber(count)
    pieces[#pieces + 1] = piece
    if all[i] ~= mine and (soonest < 0 or left < soonest) then
      soonest = left
    end
  end
end
if ARGV[3] ~= '' and #pieces > 0 then
  redis.call('PEXPIRE', nodes, ARGV[5])
end

local told = '{"at":' .. string.format('%.0f', now) .. ',"here":' .. string.format('%.0f', total)
  .. ',"nodes":{' .. table.concat(pieces, ',') .. '}}'
if changed then
  redis.call('SPUBLISH', ARGV[1], told)
end
return {told, soonest}
