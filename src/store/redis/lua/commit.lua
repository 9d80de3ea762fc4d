-- The outcome of a turn. ARGV: epoch id base flags document told wake-at old-wake old-ready first settled
-- lease-ms effects {id effect}, then what `more` brings.
-- Base: the version that was read, then the number of the last of the first inputs.
-- Flags: 1 taken (the inbox has to be empty), 2 effects handed over, 4 more, then 8 for each input that this very
-- commit has put into the inbox before (what was said about an address that it takes).
-- `more`, for what is rare: what (account, erase) balance funnel-and-provider n scattered-inputs n {version by} n uncounted
-- n withdrawn.
-- Replies: 0 done, 1 conflict, 2 not the owner, 4 what it books is paused; then whether she is ready again.
-- All is read first, for many items by one call; then each item is judged and written; what one call does for many
-- comes last.
local zero, sub = string.rep('\0', 8), string.sub
-- Documents up to this size are read whole, where only their head is asked for.
local SMALL = 4096
-- Values of one call: its stack takes some thousand.
local VALUES = 1000

-- Whether something is paused: the lease has a number 8, then 8 for each; eight zeros pause everything.
local function is_paused(lease, under)
  local pauses = call('HGET', lease, 'p') or ''
  for at = 9, #pauses, 8 do
    local one = sub(pauses, at, at + 7)
    if one == zero or one == sub(under, 1, 8) or one == sub(under, 9) then return true end
  end
  return false
end

-- What only a few commits have: read into a table.
local function read_more()
  local more = {what = arg(), balance = arg(), books = arg()}
  local function list(width)
    local all = {}
    for i = 1, tonumber(arg()) do all[i] = width == 1 and arg() or {arg(), arg()} end
    return all
  end
  more.scattered, more.versions, more.uncounted, more.withdrawn = list(1), list(2), list(1), list(1)
  more.erase = string.find(more.what, 'erase', 1, true)
  return more
end

local function erase(p, id)
  call('DEL', p .. 'customer:' .. id, p .. 'account:' .. id, p .. 'inbox:' .. id)
  call('ZREM', p .. 'ready', id)
  call('ZREM', p .. 'wake', id)
  call('SADD', p .. 'erased', sub(redis.sha1hex(id), 1, 14))
  local aside = p .. 'quarantine'
  local rows = call('HGETALL', aside)
  for i = 1, #rows, 2 do
    local size = struct.unpack('>I2', rows[i + 1])
    if sub(rows[i + 1], 3, 2 + size) == id then call('HDEL', aside, rows[i]) end
  end
end

-- Inputs that are consumed though older ones are not.
local function drop(inbox, numbers)
  local gone = {}
  for i = 1, #numbers do gone[numbers[i]] = true end
  for _, input in ipairs(call('LRANGE', inbox, '0', '-1')) do
    if gone[sub(input, 1, 8)] then call('LREM', inbox, '1', input) end
  end
end

-- Whether they are all there: one that was put aside while it was in hand must not be both listed and done.
local function all_there(inbox, numbers)
  local there = {}
  for _, input in ipairs(call('LRANGE', inbox, '0', '-1')) do there[sub(input, 1, 8)] = true end
  for i = 1, #numbers do
    if not there[numbers[i]] then return false end
  end
  return true
end

local function write_more(p, more)
  for _, id in ipairs(more.withdrawn) do
    local effect = p .. 'effect:' .. id
    -- Sending 1, begun 8, unsure 8: what may have had its effect runs out.
    local state = call('GETRANGE', effect, '4', '20')
    local untouched = sub(state, 1, 1) == '\0' and sub(state, 10) == string.rep('\0', 8)
    if untouched or (state ~= '' and more.erase) then
      call('DEL', effect)
      call('ZREM', p .. 'outbox', id)
    end
  end
  for _, version in ipairs(more.versions) do
    if call('HINCRBY', p .. 'live', version[1], version[2]) <= 0 then call('HDEL', p .. 'live', version[1]) end
  end
  for _, input in ipairs(more.uncounted) do call('HDEL', p .. 'crashes', input) end
end

-- Of each item: where its arguments begin, its flags, what `more` brings, its keys, what is kept of its customer's
-- record, how many inputs she has (as far as it matters), and whether the effect that it settles is there.
local at, flags, mores, records, inboxes = {}, {}, {}, {}, {}
local kept, unread, missing = {}, {}, {}

-- Deletions, values and facts that are written by one call each.
local gone, set, told = {}, {}, {}
local function flush()
  if #gone > 0 then call('DEL', unpack(gone)) end
  if #set > 0 then call('MSET', unpack(set)) end
  if #told > 0 then call('XADD', ARGV[7], '*', unpack(told)) end
  gone, set, told = {}, {}, {}
end

local function write(key, value)
  set[#set + 1], set[#set + 2] = key, value
  if #set >= VALUES then flush() end
end

-- The heads of the records.
local function read_records(from, to)
  local keys, of = {}, {}
  for item = from, to do
    if #ARGV[at[item] + 5] > SMALL then
      kept[item] = call('GETRANGE', records[item], '0', '11')
    else
      keys[#keys + 1], of[#of + 1] = records[item], item
    end
  end
  if #keys == 0 then return end
  for i, record in ipairs(call('MGET', unpack(keys))) do kept[of[i]] = record or '' end
end

-- How many inputs there are. Of those who have read some: whether the last is where it was and one comes after it.
local function read_inboxes(from, to)
  local quiet, of = {}, {}
  for item = from, to do
    local first, inbox, more = tonumber(ARGV[at[item] + 10]), inboxes[item], mores[item]
    if flags[item] >= 8 or (more and #more.scattered > 0) then
      unread[item] = call('LLEN', inbox)
    elseif first == 0 then
      quiet[#quiet + 1], of[#of + 1], unread[item] = inbox, item, 0
    else
      local rows = call('LRANGE', inbox, number(first - 1), number(first))
      unread[item] = rows[1] and first - 1 + #rows or call('LLEN', inbox)
      -- A fail-over may have lost what the turn has read, and others stand in its place.
      if sub(rows[1] or '', 1, 8) ~= sub(ARGV[at[item] + 3], 9) then missing[item] = true end
    end
  end
  if #quiet > 0 and call('EXISTS', unpack(quiet)) > 0 then
    for i, inbox in ipairs(quiet) do unread[of[i]] = call('LLEN', inbox) end
  end
end

-- Whether the effects that are settled are there.
local function read_settled(from, to)
  local keys, of = {}, {}
  for item = from, to do
    local settled = ARGV[at[item] + 11]
    if settled ~= '' then keys[#keys + 1], of[#of + 1] = prefix(KEYS[item]) .. 'effect:' .. settled, item end
  end
  if #keys > 0 and call('EXISTS', unpack(keys)) < #keys then
    for i, effect in ipairs(keys) do
      if call('EXISTS', effect) == 0 then missing[of[i]] = true end
    end
  end
end

-- What becomes of an item; nothing is written.
local function judge(item)
  local a, more, lease, inbox = at[item], mores[item], KEYS[item], inboxes[item]
  if not mine(lease, ARGV[a + 1]) then return 2 end
  local is = kept[item]
  if (is == '' and zero or sub(is, 1, 8)) ~= sub(ARGV[a + 3], 1, 8) then
    -- The answer to this very commit was lost on its way: what is stored is what it wrote.
    local document = ARGV[a + 5]
    local whole = again and call('GET', records[item])
    local same = whole and sub(whole, 1, 8) == sub(document, 1, 8) and sub(whole, 13) == sub(document, 13)
    return same and 3 or 1
  end
  local own = math.floor(flags[item] / 8)
  if flags[item] % 2 == 1 and unread[item] > own then return 1 end
  local first = ARGV[a + 10]
  -- One that has put inputs there itself has asked for their number alone.
  if flags[item] >= 8 and first ~= '0' and sub(call('LINDEX', inbox, number(first - 1)) or '', 1, 8) ~= sub(ARGV[a + 3], 9) then
    return 1
  end
  if missing[item] or (more and #more.scattered > 0 and not all_there(inbox, more.scattered)) then return 1 end
  if more and more.books ~= '' and is_paused(lease, more.books) then return 4 end
  return 0
end

-- Takes what was consumed out of the inbox, and puts the customer where she belongs in the indexes.
local function consume(item, p, id)
  local a, more, inbox = at[item], mores[item], inboxes[item]
  local consumed, wake_at = tonumber(ARGV[a + 10]), ARGV[a + 7]
  if consumed > 0 and consumed == unread[item] then
    gone[#gone + 1] = inbox
  elseif consumed > 0 then
    call('LTRIM', inbox, ARGV[a + 10], '-1')
  end
  if more and #more.scattered > 0 then
    drop(inbox, more.scattered)
    consumed = consumed + #more.scattered
  end
  unread[item] = unread[item] - consumed
  if unread[item] > 0 then
    call('ZADD', p .. 'ready', now_text, id)
  elseif consumed > 0 or ARGV[a + 9] ~= '' then
    call('ZREM', p .. 'ready', id)
  end
  if wake_at ~= '' then
    call('ZADD', p .. 'wake', wake_at, id)
  elseif ARGV[a + 8] ~= '' then
    call('ZREM', p .. 'wake', id)
  end
end

-- Writes a document; a gate that was raised meanwhile stays raised.
local function write_record(item)
  local document, is = ARGV[at[item] + 5], kept[item]
  if is ~= '' and sub(is, 9, 12) > sub(document, 9, 12) then
    document = sub(document, 1, 8) .. sub(is, 9, 12) .. sub(document, 13)
  end
  write(records[item], document)
end

local function write_effects(item, p)
  local a = at[item]
  local effects, handed = tonumber(ARGV[a + 13]), flags[item] % 4 >= 2
  local due = handed and number(now + tonumber(ARGV[a + 12])) .. '.5' or now_text
  for i = a + 14, a + 12 + 2 * effects, 2 do
    call('ZADD', p .. 'outbox', due, ARGV[i])
    write(p .. 'effect:' .. ARGV[i], ARGV[i + 1])
  end
end

local function write_item(item)
  local a, more, p = at[item], mores[item], prefix(KEYS[item])
  local id, settled = ARGV[a + 2], ARGV[a + 11]
  if settled ~= '' then
    gone[#gone + 1] = p .. 'effect:' .. settled
    call('ZREM', p .. 'outbox', settled)
  end
  if more and more.erase then
    erase(p, id)
    unread[item] = 0
  else
    consume(item, p, id)
    write_record(item)
    if more and more.what == 'account' then write(p .. 'account:' .. id, more.balance) end
  end
  if more then write_more(p, more) end
  write_effects(item, p)
  if ARGV[a + 6] == '' then
    return
  elseif ARGV[7] == '' then
    call('XADD', p .. 'facts', '*', 't', ARGV[a + 6])
  else
    told[#told + 1], told[#told + 2] = 't', ARGV[a + 6]
  end
end

local function run(from, to)
  read_records(from, to)
  read_inboxes(from, to)
  read_settled(from, to)
  for item = from, to do
    local a, outcome = at[item], judge(item)
    if outcome == 0 then
      write_item(item)
    elseif outcome == 1 or outcome == 4 then
      free(prefix(KEYS[item]), ARGV[a + 2], ARGV[a + 9], ARGV[a + 8])
    end
    replies[item] = {outcome == 3 and 0 or outcome, unread[item] > 0 and 1 or 0}
  end
  flush()
end

local from, seen = 1, {}
for item = 1, items do
  local a, p = at_arg, prefix(KEYS[item])
  at[item], flags[item] = a, tonumber(ARGV[a + 4])
  records[item], inboxes[item] = p .. 'customer:' .. ARGV[a + 2], p .. 'inbox:' .. ARGV[a + 2]
  at_arg = a + 13 + 2 * tonumber(ARGV[a + 13])
  mores[item] = flags[item] % 8 >= 4 and read_more()
  -- The second of the same customer reads what the first has written.
  if seen[records[item]] then
    run(from, item - 1)
    from, seen = item, {}
  end
  seen[records[item]] = true
end
run(from, items)
return {now_text, replies, heard}
