#!lua flags=allow-oom
-- Somebody uses a room: it lives on for its idle life.
--
-- KEYS  room, then its other keys
-- ARGV  1 the longest life of a room in ms
-- Returns the life in ms.

local life = tonumber(ARGV[1])
local own = tonumber(redis.call('HGET', KEYS[1], 'f:life') or '')
if own then
  life = math.min(life, own * 1000)
end
life = string.format('%.0f', life)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, life)
end
return life
