-- Lengthens leases, or ends them (lease-ms ''). KEYS: lease. ARGV: epoch lease-ms. Replies: whether it is ours.
while at_key < #KEYS do
  local lease = key()
  local epoch, term = arg(), arg()
  local ours = mine(lease, epoch)
  if ours and term == '' then
    call('HSET', lease, 'w', '', 'u', '0')
  elseif ours then
    call('HSET', lease, 'u', number(now + tonumber(term)))
  end
  replies[#replies + 1] = ours and 1 or 0
end
return {number(now), replies}
