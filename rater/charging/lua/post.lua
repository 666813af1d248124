-- Move an account's money by hand; the account is made when it is new.
--
-- KEYS  1 operation  2 account  3 accounts  4 ledger  5 outbox
-- ARGV  1 operation id, account, kind (`opening`, `credit`, `debit`), amount (micro-units), now_ms, floor
--         (micro-units), note, hash of the contents, how long to keep the operation (text, ms), reasons when money is
--         short and when an amount leaves the exact range, channel to wake legs by; packed one after the other
--       2 thresholds, see thresholds.lua; packed
-- Writes  operation, account, accounts, ledger, outbox `threshold`.
-- Returns a reply: ok, denied, conflict (the operation id was used with other contents, or the account was opened with
-- another amount). An opening, which may be 0, is posted once in an account's life, however many operations ask for it.
-- uses: prelude quote grants thresholds

local op, account_id, kind, amount, now, floor_micro, remark, digest, kept_ms, short, out_of_range, wake =
  unpack_all(ARGV[1])
local CONFLICT = '\4\0\0\0\0\0\0\0'
local held = call('MGET', KEYS[1], KEYS[2])
if held[1] then
  local first, reply = unpack_all(held[1])
  return first == digest and reply .. '\1' or CONFLICT
end
local account = account_of(held[2])
local before = account[2]

if kind == 'opening' and account[8] == 1 then
  if account[4] ~= amount then return CONFLICT end
  return pack(0, 0, 0, 0, amount, before, account[3], 1)
end

local after = kind == 'debit' and before - amount or before + amount
local total = kind == 'debit' and account[6] or account[5]
local reason = 0
if kind == 'debit' and after - account[3] < floor_micro then
  reason = short
elseif total + amount > MAX_AMOUNT or after > MAX_AMOUNT or after < -MAX_AMOUNT then
  reason = out_of_range
end
if reason ~= 0 then
  local reply = pack(1, reason, 0, 0, 0, before, account[3])
  call('SET', KEYS[1], pack(digest, reply), 'PX', kept_ms)
  return reply .. '\0'
end

local thresholds = {unpack_all(ARGV[2])}
local levels_before = levels(account, thresholds, now)
account[2] = after
if kind == 'opening' then
  account[4], account[8] = amount, 1
elseif kind == 'credit' then
  account[5] = account[5] + amount
else
  account[6] = account[6] + amount
end
local reply = pack(0, 0, 0, 0, amount, after, account[3])
call('SET', KEYS[1], pack(digest, reply), 'PX', kept_ms)
call('SET', KEYS[2], pack(unpack(account)))
if not held[2] then call('SADD', KEYS[3], account_id) end
if amount > 0 then
  call('XADD', KEYS[4], '*', 'account', account_id, 'e', pack(op, now, remark, kind, '', 0, before, after))
end
if #thresholds > 0 then announce(account, thresholds, levels_before, KEYS[5], op, account_id, now) end
if account[10] > 0 and kind ~= 'debit' then call('PUBLISH', wake, account_id) end
return reply .. '\0'
