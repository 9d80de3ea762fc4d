-- A quantity that all processes share. ARGV: name most least want kept-until, to take; name '' '' count '', to give
-- back. What is sent again because the answer was lost is taken again, and not given back again.
for item = 1, items do
  local p = prefix(KEYS[item])
  local name, most, least, want, kept_until = arg(), arg(), arg(), tonumber(arg()), arg()
  local key, got = p .. 'quantity:' .. name, 0
  local taken = tonumber(call('GET', key) or 0)
  if most ~= '' then
    local left = tonumber(most) - taken
    if left >= tonumber(least) then
      got = math.max(tonumber(least), math.min(want, math.floor(left / 4)))
      if kept_until ~= '' then
        call('SET', key, number(taken + got), 'PX', number(math.max(1, tonumber(kept_until) - now)))
      else
        call('SET', key, number(taken + got))
      end
    end
  elseif not again and taken > 0 then
    call('SET', key, number(math.max(0, taken - want)), 'KEEPTTL')
  end
  replies[item] = number(got)
end
return {now_text, replies, heard}
