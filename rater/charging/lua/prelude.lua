-- What every charging script shares: how state is packed, who may write, what was asked before.
--
-- State is packed as msgpack values one after the other, with no array around them: that is the fastest form that
-- Redis' Lua can read and write, and one GET and one SET cost less than any number of hash fields.
--
-- account  1 version (2), 2 balance, 3 reserved, 4 charges (micro-units), 5 live legs that draw on it, 6 those of them
--          that could get no more, 7 opening, 8 credits, 9 debits (micro-units), 10 opened (0, 1), 11 how many grants (at
--          most 127); then for each grant: used, reserved, granted (seconds, or micro-units); and again for each: id,
--          valid_from_ms, valid_until_ms, closed (0, 1), kind, spec. In memory, and so in version 1: version, balance,
--          reserved, opening, credits, debits, charges, opened, legs, those that could get no more, and for each grant
--          id, valid_from_ms, valid_until_ms, granted, used, reserved, closed, kind, spec
--          kind 0 a cycle of an allowance (spec: `r` when its rest rolls over; when it has and legs still held of it, packed: most,
--          least, what was left, start and end of what rolled over), 1 seconds and 2 money given by hand
--          (spec, packed: priority, blocks (0, 1), free_s, first_s, next_s, classes, linked classes, source and
--          perhaps hours; each as `,fixed,mobile,`, none for all), 3 what rolled over of an allowance (its id and `~`), 4 what a member
--          took from its group (`share:`, the owner and for money `:money`)
-- leg      1 version (2), 2 number of its last operation, 3 that one's reply, 4 granted_s, 5 final (0, 1), 6 seen_at_ms
--          (switch time, 0 never), 7 until when its leases are taken (ms), 8 to_s and 9 amount of its last piece, 10 how
--          many pieces (at most 127), 11 answered_at_ms or -1, 12 exempt (0, 1), 13 draws on the account (0, 1), 14 at
--          which byte its facts begin, from 0, 15 owner of the group that it draws on or "", 16 needs: that owner or ""
--          and its lease scopes (packed), 17 quote (Quote.to_wire, packed), of its last piece 18 grant or "" for the
--          balance, 19 start of its cycle in ms, 20 to 22 free_s, first_s, next_s of its cadence (first_s 0: money),
--          23 from_s, 24 shared (0, 1), 25 start of the cycle of the quota that counts it or -1; 26 account, 27 switch,
--          28 reserved_at_ms; from 29 for each other piece: grant, cycle, free_s, first_s, next_s, from_s, to_s, amount,
--          shared, quota; at the end the facts.
--          Version 1: 1 version, 2 number, 3 reply, 4 account, 5 switch, 6 granted_s, 7 final, 8 owner, 9 exempt,
--          10 draws, 11 reserved_at_ms, 12 answered_at_ms, 13 seen_at_ms, 14 quote, 15 facts, 16 needs, from 17 pieces
-- What changes from one operation to the next stands in front, in nine bytes whatever its value (five when it is of
-- seconds, or an operation's number), so that it can be changed in place; see quick.lua. Any other form is read, too.
-- a leg that is over (kept for repeats): 0, number of its last operation, that one's reply, denied (0, 1)
-- an account that lives elsewhere, or is about to: 77 (`M`), 0 leaves, 1 has left or 2 lives there, number of the
--          move, shard that it goes to, and while it leaves the account as it was ("" when there was none)
-- homes    number of the account's last move, and for each shard that it lived in before: shard, until when (ms)
-- reply    status, reason, granted_s, final (2: because of a spend cap), amount, balance, reserved, repeated (0, 1)
--          status: 0 ok, 1 denied, 2 gone, 3 stale, 4 conflict; 5: the leg needs other keys than those named in
--          KEYS, nothing was done, and its needs follow; 6: an account is not here, nothing was done: 0 the request's
--          own or 1 the other, and what stands in its place; 7: the account lived elsewhere before, where the operation
--          may have been done: its homes follow
-- ledger   fields account and e: operation id, at_ms, note, and for each line: cause, grant or "" for money, start of
--          its cycle in ms, before, after
--
-- Numbers are doubles, exact up to 2^53; every amount and product stays below (see rater/money.py). Numbers are
-- handed to redis.call as they are, which prints 17 digits, or packed, or by `digits` when they are needed more than
-- once; never through `..` or tostring.
-- Definitions may outlive a call (see rater/charging/scripts.py), so a part that keeps state between its functions has
-- a `begin_…`, which sets all of it and which a script calls before anything else of that part.
-- What `known` unpacks is kept from call to call, so it is for texts that many calls have in common, and nobody changes it.
-- Scripts look first and write last: an error after a write would not be undone. The first write is one that Redis
-- refuses when it is out of memory, so that a script does all or nothing then too; but for a settlement, which goes on then.

local pack, unpack_all, unpack_some, call, fmod = cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit, redis.call, math.fmod
local to_bytes, of_bytes, byte, sub, find = struct.pack, struct.unpack, string.byte, string.sub, string.find
local GRANTS, GRANT, PIECE, TERM = 11, 9, 10, 13
local GONE = '\2\0\0\0\0\0\0\0'
local STALE = '\3\71\0\0\0\0\0\0'
local MAX_AMOUNT = 9e15
local LEASE_MARGIN_MS, LEASE_LEAST_MS = 120000, 60000
local LEG_KEPT_MS = '86400000'
local DENIAL_KEPT_MS = '600000'

local KNOWN_MOST = 2000
local texts, texts_known = {}, 0

-- The values of a packed text.
local function known(text)
  local values = texts[text]
  if not values then
    if texts_known == KNOWN_MOST then texts, texts_known = {}, 0 end
    values = {unpack_all(text)}
    texts[text], texts_known = values, texts_known + 1
  end
  return values
end

-- Of a whole number.
local function digits(n) return string.format('%d', n) end

-- How many legs have a lease in a set, or `most` or more; those that have run out are told apart only then.
local function legs_under(key, most, now)
  local all = call('ZCARD', key)
  if all < most then return all end
  return call('ZCOUNT', key, digits(now + 1), '+inf')
end

-- Whether a newer leader writes for the switch. `epoch` and `known` are decimal texts; a newer one is written down.
local function is_stale(known, epoch, key, switches, switch)
  if known == epoch then return false end
  if known and tonumber(known) > tonumber(epoch) then return true end
  call('SET', key, epoch)
  call('SADD', switches, switch)
  return false
end

-- Whether something else stands in the account's place: it moves to another shard, or has moved.
local function away(held) return held and string.byte(held) == 77 end

-- Whether the account has lived in other shards, where operations on it may have been done.
local function lived_elsewhere(homes)
  if not homes then return false end
  local _, first = unpack_all(homes)
  return first ~= nil
end

-- The account in memory, or a new one.
local function account_of(held)
  if not held then return {1, 0, 0, 0, 0, 0, 0, 0, 0, 0} end
  local v = {unpack_all(held)}
  if v[1] == 1 then return v end
  if v[1] ~= 2 then error('an account is stored in a form that is not known here') end
  local a, n, k = {2, v[2], v[3], v[7], v[8], v[9], v[4], v[10], v[5], v[6]}, (#v - 11) / 9, GRANTS
  local t = 12 + 3 * n
  for s = 12, t - 1, 3 do
    a[k], a[k + 1], a[k + 2], a[k + 3], a[k + 4], a[k + 5] = v[t], v[t + 1], v[t + 2], v[s + 2], v[s], v[s + 1]
    a[k + 6], a[k + 7], a[k + 8] = v[t + 3], v[t + 4], v[t + 5]
    k, t = k + GRANT, t + 6
  end
  return a
end

local GRANT_NUMBERS = '>Bi8Bi8Bi8'

local function packed_account(a)
  local count, parts, rest, k = (#a - 10) / GRANT, {}, {}, 0
  parts[1] = to_bytes('>BBi8Bi8Bi8Bi8Bi8Bi8Bi8Bi8BB', 2, 211, a[2], 211, a[3], 211, a[7], 211, a[9], 211, a[10],
    211, a[4], 211, a[5], 211, a[6], a[8], count < 127 and count or 127)
  for i = GRANTS, #a, GRANT do
    parts[#parts + 1] = to_bytes(GRANT_NUMBERS, 211, a[i + 4], 211, a[i + 5], 211, a[i + 3])
    rest[k + 1], rest[k + 2], rest[k + 3], rest[k + 4], rest[k + 5], rest[k + 6] =
      a[i], a[i + 1], a[i + 2], a[i + 6], a[i + 7], a[i + 8]
    k = k + 6
  end
  if k > 0 then parts[#parts + 1] = pack(unpack(rest)) end
  return table.concat(parts)
end
