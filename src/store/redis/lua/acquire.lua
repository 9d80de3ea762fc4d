-- Takes shards that nobody owns. KEYS: lease crashes. ARGV: lease-ms. Replies: the epoch and the crash
-- counters, or false while another owns it.
while at_key < #KEYS do
  local lease, crashes = key(), key()
  local term = tonumber(arg())
  local kept = call('HMGET', lease, 'w', 'u')
  local owner, until_ms = kept[1] or '', tonumber(kept[2] or 0)
  if owner ~= '' and owner ~= me and until_ms > now then
    replies[#replies + 1] = false
  else
    local epoch = call('HINCRBY', lease, 'e', 1)
    call('HSET', lease, 'w', me, 'u', number(now + term))
    replies[#replies + 1] = {number(epoch), call('HGETALL', crashes)}
  end
end
return {number(now), replies}
