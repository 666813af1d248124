-- Note which archive the ledger's entries are now moved to, so that a run that died is taken up where it was.
--
-- KEYS  1 checkpoint
-- ARGV  1 the checkpoint's place as the caller read it  2 name of the archive  3 id of the archive's last entry
-- Writes  checkpoint: `archive`, `until`.
-- Returns 1, or 0 when the checkpoint has moved or another archive is under way.
--
-- The first write is one that Redis lets through when it is out of memory; then it lets the second through too.

local held = redis.call('HMGET', KEYS[1], 'at', 'archive')
if (held[1] or '0-0') ~= ARGV[1] then return 0 end
if held[2] and held[2] ~= '' and held[2] ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'archive', 'until')
redis.call('HSET', KEYS[1], 'archive', ARGV[2], 'until', ARGV[3])
return 1
