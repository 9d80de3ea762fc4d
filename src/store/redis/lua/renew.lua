-- Lengthens leases, or ends them (lease-ms ''). ARGV: epoch lease-ms pauses. Replies: whether it is ours.
for item = 1, items do
  local lease = KEYS[item]
  local epoch, term, pauses = arg(), arg(), arg()
  local ours = mine(lease, epoch)
  if ours and term == '' then
    call('HSET', lease, 'w', '', 'u', '0')
  elseif ours then
    call('HSET', lease, 'u', number(now + tonumber(term)))
    heed(lease, pauses)
  end
  replies[item] = ours and 1 or 0
end
return {now_text, replies, heard}
