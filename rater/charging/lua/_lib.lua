-- Shared by every charging script: put in front of each when it is loaded.
--
-- State is packed: one msgpack map per account and one per leg, since one GET and one SET cost less than many HGETs.
-- Numbers are doubles, exact up to 2^53; rater/money.py keeps every product here below that. Division is done with
-- math.fmod, which is exact, never with a quotient that may have been rounded.
--
-- account map   b balance, r reserved, o opening, c credits, d debits, x charges (micro-units),
--               g grants: list of {id, granted_s, used_s, reserved_s, valid_from_ms, valid_until_ms}
-- leg map       a account, w switch, q quote, p pieces: list of {grant or "", from_s, to_s, amount, valid_from_ms},
--               k cadences: map grant -> {free_s, first_s, next_s}, g granted_s, f final (0, 1), n last operation,
--               y its reply, t reserved_at_ms, h answered_at_ms or 0, s seen_at_ms, e exempt (0, 1), i facts,
--               l lease scopes, z 1 when settled (a tombstone)
-- quote         see Quote.to_wire in rater/money.py
-- reply         {status, reason, granted_s, final, amount, balance, reserved, repeated}

local OK, DENIED, GONE, STALE, CONFLICT = 0, 1, 2, 3, 4
local LEASE_GRACE_MS = 60000
local TOMBSTONE_MS = 86400000
local LEG_KEPT_MS = 3 * 86400000

local function load(key)
  local data = redis.call('GET', key)
  if data then return cmsgpack.unpack(data) end
  return nil
end

local function new_account()
  return {b = 0, r = 0, o = 0, c = 0, d = 0, x = 0, g = {}}
end

-- C(n) in micro-units: the twin of cumulative_micro in rater/money.py.
local function cumulative(q, n)
  if n <= q[3] then return 0 end
  local whole, frac, common, s = q[4], 0, q[9], q[12]
  for i = 1, #s, 5 do
    local from = s[i]
    if n <= from then break end
    local to = s[i + 5] or n
    if n < to then to = n end
    local step = s[i + 1]
    local billed = math.ceil((to - from) / step) * step
    local product, den = s[i + 2] * billed, s[i + 3]
    local rest = math.fmod(product, den)
    whole = whole + (product - rest) / den
    frac = frac + rest * (common / den)
  end
  local rest = math.fmod(frac, common)
  whole = whole + (frac - rest) / common
  frac = rest
  if whole < q[5] then whole, frac = q[5], 0 end
  if q[6] >= 0 and (whole > q[6] or (whole == q[6] and frac > 0)) then whole, frac = q[6], 0 end
  local unit, mode = q[7], q[8]
  local over = math.fmod(whole, unit)
  local base = whole - over
  if over == 0 and frac == 0 then return whole end
  if mode == 0 then return base + unit end
  if mode == 1 then return base end
  -- The rest, over + frac/common, against half a unit; compared without multiplying large numbers.
  local short = unit - 2 * over
  local more = short < 0 or (short == 0 and frac > 0) or (short == 1 and 2 * frac > common)
  local tie = (short == 0 and frac == 0) or (short == 1 and 2 * frac == common)
  if more then return base + unit end
  if tie and (mode == 2 or math.fmod(base / unit, 2) == 1) then return base + unit end
  return base
end

-- A(n): the twin of Cadence.counted_s.
local function counted(k, n)
  if n <= k[1] or n <= 0 then return 0 end
  if n <= k[2] then return k[2] end
  return k[2] + math.ceil((n - k[2]) / k[3]) * k[3]
end

-- The largest n, from <= n <= high, with measure(n) - measure(from) <= budget; measure never falls.
local function longest(measure, x, from, high, budget)
  local spent = measure(x, from)
  if measure(x, high) - spent <= budget then return high end
  local low = from
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    if measure(x, middle) - spent <= budget then low = middle else high = middle - 1 end
  end
  return low
end

local function is_free(q)
  if q[4] > 0 or q[5] > 0 then return false end
  for i = 3, #q[12], 5 do
    if q[12][i] > 0 then return false end
  end
  return true
end

local function find_grant(account, id)
  for _, grant in ipairs(account.g) do
    if grant[1] == id then return grant end
  end
  return nil
end

local function note(ledger, op, account, resource, cause, before, after, now)
  redis.call('XADD', ledger, '*', 'op', op, 'account', account, 'resource', resource, 'cause', cause,
    'before', string.format('%.0f', before), 'after', string.format('%.0f', after),
    'at', string.format('%.0f', now))
end

-- Opens or renews each allowance that the terms name: {grant, seconds, free, first, next, from_ms, until_ms}.
-- Returns the ledger entries to be written, as lists of note's arguments from `resource` to `after`.
local function renew(account, allowances)
  local entries = {}
  for _, term in ipairs(allowances) do
    local grant = find_grant(account, term[1])
    if not grant then
      grant = {term[1], 0, 0, 0, 0, 0}
      account.g[#account.g + 1] = grant
    end
    if grant[5] ~= term[6] and term[6] > grant[5] then
      local left = grant[2] - grant[3]
      if left ~= 0 then entries[#entries + 1] = {term[1], 'expiry', left, 0} end
      entries[#entries + 1] = {term[1], 'renewal', 0, term[2]}
      grant[2], grant[3], grant[4], grant[5], grant[6] = term[2], 0, 0, term[6], term[7]
    end
  end
  return entries
end

local function add_piece(leg, grant, from, to, amount, cycle)
  local last = leg.p[#leg.p]
  if last and last[1] == grant and last[5] == cycle and last[3] == from then
    last[3], last[4] = to, last[4] + amount
  else
    leg.p[#leg.p + 1] = {grant, from, to, amount, cycle}
  end
end

-- Pays the leg's next seconds up to `target`: allowances in their order, then money. `live`: the account's live legs.
-- terms: {floor, use_money (0, 1), allowances, thresholds}. Sets leg.g and leg.f.
local function grow(account, leg, terms, target, short, live)
  local q = leg.q
  local horizon, position = q[2], leg.g
  if target > horizon then target = horizon end
  local free = is_free(q)
  if not free then
    for _, term in ipairs(terms[3]) do
      local grant = find_grant(account, term[1])
      local left = grant[2] - grant[3] - grant[4]
      if position < target and left > 0 then
        local k = {term[3], term[4], term[5]}
        local to = longest(counted, k, position, target, left)
        local amount = counted(k, to) - counted(k, position)
        if to > position and (amount > 0 or to == target) then
          leg.k[term[1]] = k
          grant[4] = grant[4] + amount
          add_piece(leg, term[1], position, to, amount, grant[5])
          position = to
        end
      end
    end
  end
  local available = account.b - terms[1] - account.r
  if position < target and free then
    add_piece(leg, '', position, target, 0, 0)
    position = target
  elseif position < target and terms[2] == 1 and available > 0 then
    local paid = cumulative(q, position)
    local least = cumulative(q, math.min(position + short, horizon)) - paid
    local share = math.floor(available / (2 * math.max(live, 1)))
    local budget = math.min(available, math.max(least, share))
    local to = longest(cumulative, q, position, target, budget)
    local amount = cumulative(q, to) - paid
    if to > position and (amount > 0 or to == target or position > 0) then
      account.r = account.r + amount
      available = available - amount
      add_piece(leg, '', position, to, amount, 0)
      position = to
    end
  end
  leg.g = position
  leg.f = 0
  if position >= horizon then
    leg.f = 1
  elseif position < target then
    local more = terms[2] == 1 and available > 0
      and cumulative(q, position + 1) - cumulative(q, position) <= available
    if not more then leg.f = 1 end
  end
end

-- Threshold records to be written: {id, kind, value, grant} against the settled state before and after.
-- money_below: kind 0, crossed downwards; allowance_percent: kind 1, crossed upwards.
local function crossings(thresholds, before_micro, after_micro, used_before, account)
  local found = {}
  for _, t in ipairs(thresholds) do
    if t[2] == 0 then
      if before_micro >= t[3] and after_micro < t[3] then
        found[#found + 1] = {t, before_micro, after_micro}
      end
    else
      local grant = find_grant(account, t[4])
      if grant and grant[2] > 0 then
        local before = used_before[t[4]]
        if before == nil then before = grant[3] end
        if before * 100 < t[3] * grant[2] and grant[3] * 100 >= t[3] * grant[2] then
          found[#found + 1] = {t, before, grant[3]}
        end
      end
    end
  end
  return found
end

local function report(outbox, found, account, op, now)
  for _, c in ipairs(found) do
    local t = c[1]
    redis.call('XADD', outbox, '*', 'k', 'threshold', 'f', cmsgpack.pack({account = account}),
      'r', cmsgpack.pack({threshold = t[1], kind = t[2] == 0 and 'money_below' or 'allowance_percent',
        value = t[3], grant = t[4], before = c[2], after = c[3], account = account, at_ms = now,
        id = op .. ':' .. t[1]}))
  end
end

-- Whether a newer leader writes for the switch; a newer token is written down.
local function stale(key, epoch)
  local known = tonumber(redis.call('GET', key) or '0')
  if epoch < known then return true end
  if epoch > known then redis.call('SET', key, string.format('%.0f', epoch)) end
  return false
end

local function again(reply)
  reply[8] = 1
  return reply
end

local function keep(key, value, ms)
  redis.call('SET', key, cmsgpack.pack(value), 'PX', string.format('%.0f', ms))
end
