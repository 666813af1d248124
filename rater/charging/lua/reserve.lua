-- Check limits, take leases, reserve the first slice and write the leg: or deny, and record the denial.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 legs of the switch  6 accounts  7 ledger  8 outbox
--       9 account of the group's owner (any key without one)  10… one lease set for each limit
-- ARGV  1 number of the operation, epoch (text), now_ms, operation id, account, leg, switch, exempt (0, 1),
--         floor (micro-units), use_money (0, 1), first_s, short_s, reason when money is short, when an allowance is,
--         seconds_order, money_order, owner of the group or "", reason of a limit kept
--         elsewhere that is reached, or 0; packed one after the other
--       2 quote, packed   3 facts, a msgpack map   4 for each limit: most legs, reason; packed
--       5 allowances, see grants.lua; packed   6 the leg's needs, packed, as they are kept with it
--       7 what the group shares, see chain.lua; packed, or ""
-- Writes  account, leg, legs, lease sets, ledger (when a grant opens or closes), the owner's account; when denied: the
--         leg's tombstone, outbox `denied`; the epoch when it is newer.
-- Returns a reply: ok, denied (reason), stale, gone (the leg was settled). A repeat gets the first answer.
-- uses: prelude quote grants chain walk

local n, epoch, now, op, account_id, leg_id, switch, exempt, floor, use_money, first_s, short_of_money,
  short_of_allowance, seconds_order, money_order, owner_id, broken
n, epoch, now, op, account_id, leg_id, switch, exempt, floor, use_money, first_s, short_s, short_of_money,
  short_of_allowance, seconds_order, money_order, owner_id, broken = unpack_all(ARGV[1])
local held = owner_id == '' and call('MGET', KEYS[1], KEYS[2], KEYS[4])
  or call('MGET', KEYS[1], KEYS[2], KEYS[4], KEYS[9])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if held[1] then
  local version, last, reply, denied, _, has, ends = unpack_all(held[1])
  if n == last then return reply .. '\1' end
  if version == 1 then return pack(0, 0, has, ends, 0, 0, 0, 1) end
  if n < last then return pack(2, 71, 0, 0, 0, 0, 0, 1) end
  if denied == 0 then return pack(2, 71, 0, 0, 0, 0, 0, 0) end
end

account = account_of(held[3])
local terms = {unpack_all(ARGV[5])}
use_quote(ARGV[2])
renew(account, lines, terms, now)
if owner_id ~= '' then
  owner = account_of(held[4])
  theirs = shared_view(ARGV[7], 0)
  renew(account, lines, theirs.quotas, now)
  renew(owner, owner_lines, theirs.terms, now)
end

local reason = 0
if exempt == 0 then
  reason = broken
  local limits = {unpack_all(ARGV[4])}
  for i = 1, #limits, 2 do
    local live = call('ZCOUNT', KEYS[9 + (i + 1) / 2], now + 1, '+inf')
    if live >= limits[i] and (reason == 0 or limits[i + 1] < reason) then reason = limits[i + 1] end
  end
end
if reason == 0 then
  -- A leg that is free however long draws on nothing, unless its allowance blocks when it is exhausted.
  if exempt == 1 or (price(q_horizon) == 0 and not (use_money == 0 and #terms > 0)) then draws = 0 end
  start = now
  ours = view_of(account, lines, terms, floor, use_money, seconds_order, money_order, 2 * (account[9] + 1))
  if theirs then theirs.sharers = 2 * (owner[9] + 1) end
  walk(increment_end(first_s))
  if granted == 0 then
    reason = (has_blocker() or use_money == 0 and #terms > 0) and short_of_allowance or short_of_money
  end
end

-- What was renewed is kept, and told, even when nothing was had.
local function note_renewal()
  if #lines > 0 then
    if not held[3] then call('SADD', KEYS[6], account_id) end
    call('XADD', KEYS[7], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines)))
  end
  if #owner_lines > 0 then
    if not held[4] then call('SADD', KEYS[6], owner_id) end
    call('XADD', KEYS[7], '*', 'account', owner_id, 'e', pack(op, now, '', unpack(owner_lines)))
  end
end

if reason ~= 0 then
  local reply = pack(1, reason, 0, 0, 0, account[2], account[3])
  call('SET', KEYS[1], pack(0, n, reply, 1), 'PX', DENIAL_KEPT_MS)
  if #lines > 0 then call('SET', KEYS[4], pack(unpack(account))) end
  if #owner_lines > 0 then call('SET', KEYS[9], pack(unpack(owner))) end
  call('XADD', KEYS[8], '*', 'k', 'denied', 'f', ARGV[3],
    'r', '\131' .. pack('reason', reason, 'balance_micro', account[2], 'reserved_micro', account[3]))
  for i = 10, #KEYS do call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now) end
  note_renewal()
  return reply .. '\0'
end

local waits = draws == 1 and final == 1 and granted < q_horizon and 1 or 0
account[9], account[10] = account[9] + draws, account[10] + waits
local reply = pack(0, 0, granted, final, 0, account[2], account[3])
local leg = pack(1, n, reply, account_id, switch, granted, final, owner_id, exempt, draws, now, -1, 0, ARGV[2],
  ARGV[3], ARGV[6], unpack(pieces))
if owner then
  owner[9], owner[10] = owner[9] + draws, owner[10] + waits
  call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], leg, KEYS[9], pack(unpack(owner)))
  if not held[4] and #owner_lines == 0 then call('SADD', KEYS[6], owner_id) end
else
  call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], leg)
end
call('SADD', KEYS[5], leg_id)
local expiry = now + granted * 1000 + LEASE_MARGIN_MS
for i = 10, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
if not held[3] and #lines == 0 then call('SADD', KEYS[6], account_id) end
note_renewal()
return reply .. '\0'
