-- Record a denial that was decided without a balance.
-- KEYS  1 operation  2 outbox
-- ARGV  1 facts (msgpack map)  2 reason
-- Returns a reply, see _lib.lua; a repeat writes nothing.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', string.format('%.0f', TOMBSTONE_MS)) then
  return {OK, 0, 0, 0, 0, 0, 0, 1}
end
redis.call('XADD', KEYS[2], '*', 'k', 'denied', 'f', ARGV[1],
  'r', cmsgpack.pack({reason = tonumber(ARGV[2]), balance_micro = 0, reserved_micro = 0}))
return {OK, 0, 0, 0, 0, 0, 0, 0}
