-- Check limits, take leases, reserve the first slice and write the leg: or deny, and record the denial.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 legs of the switch  6 accounts  7 ledger  8 outbox
--       9… one lease set for each limit
-- ARGV  1 number of the operation, epoch (text), now_ms, operation id, account, leg, switch, exempt (0, 1),
--         floor (micro-units), use_money (0, 1), first_s, short_s, reason when money is short, when an allowance is,
--         of a limit kept elsewhere that is reached, or 0; packed one after the other
--       2 quote, packed   3 facts, a msgpack map   4 for each limit: most legs, reason; packed
--       5 allowances, see `renew`; packed   6 lease scopes, packed, as they are kept with the leg
-- Writes  account, leg, legs, lease sets, ledger (when an allowance opens or closes); when denied: the leg's tombstone,
--         outbox `denied`; the epoch when it is newer.
-- Returns a reply: ok, denied (reason), stale, gone (the leg was settled). A repeat gets the first answer.
-- uses: prelude quote grants walk

local n, epoch, now, op, account_id, leg_id, switch, exempt, first_s, short_of_money, short_of_allowance, broken
n, epoch, now, op, account_id, leg_id, switch, exempt, floor_micro, use_money, first_s, short_s, short_of_money,
  short_of_allowance, broken = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2], KEYS[4])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if held[1] then
  local version, last, reply, denied, _, has, ends = unpack_all(held[1])
  if n == last then return reply .. '\1' end
  if version == 1 then return pack(0, 0, has, ends, 0, 0, 0, 1) end
  if n < last then return pack(2, 71, 0, 0, 0, 0, 0, 1) end
  if denied == 0 then return pack(2, 71, 0, 0, 0, 0, 0, 0) end
end

account = held[3] and {unpack_all(held[3])} or {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
terms = {unpack_all(ARGV[5])}
use_quote(ARGV[2])
renew(terms, now)
local renewed = #lines > 0

local reason = 0
if exempt == 0 then
  reason = broken
  local limits = {unpack_all(ARGV[4])}
  for i = 1, #limits, 2 do
    local live = call('ZCOUNT', KEYS[8 + (i + 1) / 2], now + 1, '+inf')
    if live >= limits[i] and (reason == 0 or limits[i + 1] < reason) then reason = limits[i + 1] end
  end
end
if reason == 0 then
  -- A leg that is free however long draws on nothing, unless its allowance blocks when it is exhausted.
  if exempt == 1 or (price(q_horizon) == 0 and not (use_money == 0 and #terms > 0)) then draws = 0 end
  sharers = 2 * (account[9] + 1)
  walk(increment_end(first_s))
  if granted == 0 then reason = (use_money == 0 and #terms > 0) and short_of_allowance or short_of_money end
end

if reason ~= 0 then
  local reply = pack(1, reason, 0, 0, 0, account[2], account[3])
  call('SET', KEYS[1], pack(0, n, reply, 1), 'PX', DENIAL_KEPT_MS)
  if renewed then call('SET', KEYS[4], pack(unpack(account))) end
  call('XADD', KEYS[8], '*', 'k', 'denied', 'f', ARGV[3],
    'r', '\131' .. pack('reason', reason, 'balance_micro', account[2], 'reserved_micro', account[3]))
  for i = 9, #KEYS do call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now) end
  if renewed then
    if not held[3] then call('SADD', KEYS[6], account_id) end
    call('XADD', KEYS[7], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines)))
  end
  return reply .. '\0'
end

account[9] = account[9] + draws
if draws == 1 and final == 1 and granted < q_horizon then account[10] = account[10] + 1 end
local reply = pack(0, 0, granted, final, 0, account[2], account[3])
call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], pack(1, n, reply, account_id, switch, granted, final, reserved,
  exempt, draws, now, -1, 0, ARGV[2], ARGV[3], ARGV[6], unpack(pieces)))
call('SADD', KEYS[5], leg_id)
local expiry = now + granted * 1000 + LEASE_MARGIN_MS
for i = 9, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
if not held[3] then call('SADD', KEYS[6], account_id) end
if renewed then call('XADD', KEYS[7], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines))) end
return reply .. '\0'
