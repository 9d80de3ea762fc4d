-- Effects that are due. KEYS: lease outbox. ARGV: prefix epoch most lease-ms.
while at_key < #KEYS do
  local lease, outbox = key(), key()
  local prefix, epoch, most, term = arg(), arg(), arg(), tonumber(arg())
  if not mine(lease, epoch) then
    replies[#replies + 1] = false
  else
    local out, back = {}, number(now + term) .. '.5'
    for _, id in ipairs(call('ZRANGEBYSCORE', outbox, '-inf', number(now) .. '.5', 'LIMIT', 0, most)) do
      local effect = call('GET', prefix .. 'effect:' .. id)
      if effect then
        call('ZADD', outbox, back, id)
        out[#out + 1] = {id, effect}
      else
        call('ZREM', outbox, id)
      end
    end
    replies[#replies + 1] = {call('ZRANGE', outbox, 0, 0, 'WITHSCORES')[2] or '', out}
  end
end
return {number(now), replies}
