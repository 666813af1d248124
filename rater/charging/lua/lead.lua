-- Take, keep or give up the leadership of a switch.
--
-- KEYS  1 the switch's leadership, a hash: holder, epoch, until_ms by this server's clock
-- ARGV  1 holder  2 how long it lasts, ms; 0 gives it up  3 an epoch that the new one must exceed, or 0
-- Writes  the leadership, when it is free or the holder's own.
-- Returns the epoch, or 0 while another holds it. It grows with each change of holder and never falls.

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'holder', 'epoch', 'until_ms')
local epoch = tonumber(known[2] or '0')
if known[1] and known[1] ~= ARGV[1] and tonumber(known[3]) > now then return 0 end
if known[1] ~= ARGV[1] then epoch = epoch + 1 end
local least = tonumber(ARGV[3])
if epoch <= least then epoch = least + 1 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'epoch', string.format('%.0f', epoch),
  'until_ms', string.format('%.0f', now + tonumber(ARGV[2])))
return epoch
