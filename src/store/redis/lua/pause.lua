-- What is paused, and what waits for it no more. ARGV: pauses release.
-- Pauses: the number of the change 8, then 8 for each. Release: '', or how many of those that are due later were
-- looked at before. Replies: the number that was known, how many were looked at now, how many are due.
local PAGE, PAUSED = 500, '\0\6paused'
for item = 1, items do
  local lease = KEYS[item]
  local p, pauses, from = prefix(lease), arg(), arg()
  local known, seen, moved = string.sub(call('HGET', lease, 'p') or '', 1, 8), 0, 0
  heed(lease, pauses)
  if from ~= '' then
    local outbox = p .. 'outbox'
    local rows = call('ZRANGEBYSCORE', outbox, '(' .. now_text, '+inf', 'WITHSCORES', 'LIMIT', from, number(PAGE))
    for i = 1, #rows, 2 do
      seen = seen + 1
      -- One in hand is not taken out of it.
      if string.sub(rows[i + 1], -2) ~= '.5' and call('GETRANGE', p .. 'effect:' .. rows[i], '66', '73') == PAUSED then
        call('ZADD', outbox, now_text, rows[i])
        moved = moved + 1
      end
    end
    if moved > 0 then ring(lease, 'e') end
  end
  replies[item] = {known, seen, moved}
end
return {now_text, replies, heard}
