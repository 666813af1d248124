-- The sources that a leg may draw on, in their order. Twin of the upper half of `Walk` in rater/charging/walk.py.
--
-- A view is one account as the leg sees it: a (the account), lines (for its ledger), terms, index (where each
-- allowance's term begins), sharers (twice the legs that draw on it), floor (micro-units), use_money, seconds_order,
-- money_order (0 earliest expiry, 1 latest expiry, 2 oldest, 3 newest), shift (of its tiers), shared (0, 1), bands (of its
-- plan, packed: from when it is in force in ms and name of each as `,night,`, `,,` for none); of a shared one also ends (ms), quotas (terms), quota_s, quota_micro (their ids or "").

-- terms, packed: floor (micro-units), use_money (0, 1), seconds_order, money_order, shadow (0, 1), owner of the group that the
-- account is in or "", allowances (see grants.lua; packed), what the group shares (packed, or ""), spend caps (see
-- spend.lua; packed), reasons when money is short, when an allowance is, when a spend cap is reached,
-- bands of the plan (packed, or "").

local account, owner, seconds, funds, edge, ours, theirs, relaxed, looked_at
local made, in_use = {}, 0
local FOREVER_MS = 253402300799000

local function begin_chain()
  begin_grants()
  account, owner, seconds, funds, edge, ours, theirs, relaxed, looked_at = nil, nil, nil, nil, nil, nil, nil, false, nil
end

local function view_of(a, to, terms, floor, use_money, seconds_order, money_order, sharers)
  return {a = a, lines = to, terms = terms, index = terms.index, sharers = sharers, floor = floor, use_money = use_money,
    seconds_order = seconds_order, money_order = money_order, shift = 0, shared = 0}
end

-- share, packed: owner, floor, use_money, first (0, 1), ends, seconds_order, money_order, quota_s, quota_micro, the owner's
-- allowances (packed), quotas (packed), the owner's spend caps (packed, or ""), bands of its plan (packed, or "").
local function shared_view(wire, sharers)
  local _, floor, use_money, first, ends, seconds_order, money_order, quota_s, quota_micro, terms, quotas,
    spend_caps, bands = unpack_all(wire)
  local view = view_of(owner, owner_lines, terms_of(terms), floor, use_money, seconds_order, money_order, sharers)
  view.shift, view.shared, view.ends = first == 1 and -3 or 3, 1, ends
  view.spend_caps, view.bands = spend_caps, bands
  view.quotas, view.quota_s, view.quota_micro = terms_of(quotas), quota_s, quota_micro
  return view
end

local function stands_before(x, y, order)
  if x.tier ~= y.tier then return x.tier < y.tier end
  if x.priority ~= y.priority then return x.priority < y.priority end
  if order < 2 then
    if x.till ~= y.till then
      if order == 0 then return x.till < y.till end
      return x.till > y.till
    end
    if x.from ~= y.from then return x.from < y.from end
    return x.place < y.place
  end
  if x.from ~= y.from then
    if order == 2 then return x.from < y.from end
    return x.from > y.from
  end
  if x.till ~= y.till then return x.till < y.till end
  return x.place < y.place
end

local function insert(list, first, source, order)
  local k = #list
  while k >= first and stands_before(source, list[k], order) do
    list[k + 1] = list[k]
    k = k - 1
  end
  list[k + 1] = source
end

-- How near a grant given by hand is to the leg's class; nil when that may not draw on it.
local function tier_of(classes, also)
  if classes == '' then return 2 end
  local class = ',' .. q_class .. ','
  if find(classes, class, 1, true) then return 0 end
  if find(also, class, 1, true) then return 1 end
end

-- A source with all its fields yet to be set: the tables of earlier looks serve again.
local function new_source()
  in_use = in_use + 1
  local source = made[in_use]
  if not source then
    source = {}
    made[in_use] = source
  end
  return source
end

-- Whether one of a grant's hours is in force; the next moment at which that is otherwise is an edge.
local function is_open(view, hours, at)
  local opened, bands = false, view.bands ~= '' and known(view.bands) or {}
  for k = 1, #bands, 2 do
    local holds = find(hours, bands[k + 1], 1, true) ~= nil
    if bands[k] <= at then
      opened = holds
    elseif holds ~= opened then
      if bands[k] < edge then edge = bands[k] end
      break
    end
  end
  return opened
end

local function add_source(view, i, kind, at, quota_s, quota_micro, first_fund)
  local a = view.a
  local tier, priority, blocks, free, cadence, following, hours
  local place = 1e6
  if kind == 0 or kind == 3 then
    local terms, t = view.terms, view.index[kind == 0 and a[i] or string.sub(a[i], 1, -2)]
    if not t then return end
    tier, priority, blocks, free, cadence, following, hours =
      terms[t + 7], terms[t + 8], 0, terms[t + 2], terms[t + 3], terms[t + 4], terms[t + 12]
    -- Among equals: as they stand in the plan, what rolled over before the new cycle.
    place = kind == 0 and t or t - 1
  else
    local spec = known(a[i + 8])
    tier = tier_of(spec[6], spec[7])
    if not tier then return end
    priority, blocks, free, cadence, following, hours = spec[1], spec[2], spec[3], spec[4], spec[5], spec[9] or ''
  end
  if hours ~= '' and not is_open(view, hours, at) then return end
  local source = new_source()
  source.a, source.i, source.from, source.till = a, i, a[i + 1], a[i + 2]
  source.tier, source.priority, source.place, source.blocks = tier + view.shift, priority, place, blocks
  source.free, source.first, source.following = free, cadence, following
  source.sharers, source.shared, source.quota, source.floor = view.sharers, view.shared, false, false
  if kind == 2 then
    source.first, source.quota = 0, quota_micro
    if quota_micro ~= nil and view.use_money == 1 then insert(funds, first_fund, source, view.money_order) end
  elseif quota_s ~= nil then
    source.quota = quota_s
    insert(seconds, 1, source, view.seconds_order)
  end
end

-- The cycle of a quota: false without one, nil when it has none at that moment, so that nothing may be used.
local function quota_at(id, at)
  if id == '' then return false end
  return cycle_at(account, id, at)
end

local function look_at(view, at)
  local a, first_fund, quota_s, quota_micro = view.a, #funds + 1, false, false
  open_next(a, view.lines, view.terms, at)
  if view.shared == 1 then
    open_next(account, lines, view.quotas, at)
    quota_s, quota_micro = quota_at(view.quota_s, at), quota_at(view.quota_micro, at)
  end
  for i = GRANTS, #a, GRANT do
    if a[i + 6] == 0 then
      local from, till, kind = a[i + 1], a[i + 2], a[i + 7]
      if from > at then
        if from < edge then edge = from end
      elseif till > at then
        if till < edge then edge = till end
        if kind ~= 4 then add_source(view, i, kind, at, quota_s, quota_micro, first_fund) end
      end
    end
  end
  if view.use_money == 1 and quota_micro ~= nil then
    local source = new_source()
    source.a, source.i, source.floor, source.blocks, source.first = a, false, view.floor, 0, 0
    source.sharers, source.shared, source.quota = view.sharers, view.shared, quota_micro
    funds[#funds + 1] = source
  end
end

-- A leg in shadow whose credit is at its end is blocked by nothing.
local function without_blockers(sources)
  local kept = {}
  for k = 1, #sources do
    if sources[k].blocks == 0 then kept[#kept + 1] = sources[k] end
  end
  return kept
end

-- Finds the sources as they are at a moment, and the next moment at which they may be others.
local function look(at)
  edge, seconds, funds, in_use, looked_at = FOREVER_MS, {}, {}, 0, at
  if theirs and at < theirs.ends then
    if theirs.ends < edge then edge = theirs.ends end
    look_at(theirs, at)
  end
  look_at(ours, at)
  if relaxed then seconds, funds = without_blockers(seconds), without_blockers(funds) end
end

local function left(s)
  local a, i, quota = s.a, s.i, s.quota
  local n
  if i then n = a[i + 3] - a[i + 4] - a[i + 5] else n = a[2] - s.floor - a[3] end
  if quota then
    local rest = account[quota + 3] - account[quota + 4] - account[quota + 5]
    if rest < n then n = rest end
  end
  return n > 0 and n or 0
end

local function take(s, amount)
  local a, i, quota = s.a, s.i, s.quota
  if i then a[i + 5] = a[i + 5] + amount else a[3] = a[3] + amount end
  if quota then account[quota + 5] = account[quota + 5] + amount end
end
