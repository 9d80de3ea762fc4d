-- What is known of an address: who has it (`c:<customer>`, since when), what was said about it
-- (`s:<channel>:<kind>`: since when and who said so), soft bounces (`b:<channel>:<id>`: when), or the effect (`e`)
-- that a provider's own id belongs to. ARGV: mode digest and five more.
--   take customer most             leave customer before         stop channel kind since source
--   soft channel since source id from:most                       lift channel until kinds
--   refer effect kept-ms
-- Replies: 1 when there is no room for another customer; all fields with their values.
local function stop(key, channel, kind, since, source)
  local field = 's:' .. channel .. ':' .. kind
  local held = call('HGET', key, field)
  if not held or tonumber(string.match(held, '^-?%d+')) < tonumber(since) then
    call('HSET', key, field, since .. ' ' .. source)
  end
end

local function begins(text, with) return string.sub(text, 1, #with) == with end

-- Soft bounces of a channel: those before an instant go; how many are left.
local function soft_left(key, with, from)
  local count, rows = 0, call('HGETALL', key)
  for i = 1, #rows, 2 do
    if begins(rows[i], with) then
      if tonumber(rows[i + 1]) <= from then call('HDEL', key, rows[i]) else count = count + 1 end
    end
  end
  return count
end

for item = 1, items do
  local p, a = prefix(KEYS[item]), at_arg
  local mode, key = ARGV[a + 1], p .. 'address:' .. ARGV[a + 2]
  local u, v, w, x, y = ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
  at_arg = a + 7
  local full = 0
  if mode == 'take' then
    if call('HEXISTS', key, 'c:' .. u) == 0 then
      local count = 0
      for _, field in ipairs(call('HKEYS', key)) do
        if begins(field, 'c:') then count = count + 1 end
      end
      if count >= tonumber(v) then full = 1 end
    end
    if full == 0 then call('HSET', key, 'c:' .. u, now_text) end
  elseif mode == 'leave' then
    local since = call('HGET', key, 'c:' .. u)
    if since and tonumber(since) < tonumber(v) then call('HDEL', key, 'c:' .. u) end
  elseif mode == 'stop' then
    stop(key, u, v, w, x)
  elseif mode == 'soft' then
    local from, most = string.match(y, '^(-?%d+):(%d+)$')
    local with = 'b:' .. u .. ':'
    call('HSETNX', key, with .. x, now_text)
    if soft_left(key, with, tonumber(from)) >= tonumber(most) then stop(key, u, 'bounced', v, w) end
  elseif mode == 'lift' then
    for kind in string.gmatch(w, '%a+') do
      local field = 's:' .. u .. ':' .. kind
      local held = call('HGET', key, field)
      if held and tonumber(string.match(held, '^-?%d+')) <= tonumber(v) then call('HDEL', key, field) end
    end
  elseif mode == 'refer' then
    call('HSETNX', key, 'e', u)
    call('PEXPIRE', key, v)
  end
  replies[item] = {full, mode == 'leave' and {} or call('HGETALL', key)}
end
return {now_text, replies, heard}
