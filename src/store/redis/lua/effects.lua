-- Effects that are due. ARGV: epoch most lease-ms.
local edge = now_text .. '.5'
for item = 1, items do
  local p = prefix(KEYS[item])
  local epoch, most, term = arg(), arg(), tonumber(arg())
  if not mine(KEYS[item], epoch) then
    replies[item] = false
  else
    local out, outbox, back = {}, p .. 'outbox', number(now + term) .. '.5'
    for _, id in ipairs(call('ZRANGEBYSCORE', outbox, '-inf', edge, 'LIMIT', '0', most)) do
      local effect = call('GET', p .. 'effect:' .. id)
      if effect then
        call('ZADD', outbox, back, id)
        out[#out + 1] = {id, effect}
      else
        call('ZREM', outbox, id)
      end
    end
    replies[item] = {call('ZRANGE', outbox, '0', '0', 'WITHSCORES')[2] or '', out}
  end
end
return {now_text, replies, heard}
