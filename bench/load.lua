-- Sends the body given as the first argument, and counts every answer that isn't a 200.
local loaders = {}

function setup(thread)
  table.insert(loaders, thread)
end

function init(args)
  wrong = 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.body = args[1]
end

function response(status)
  if status ~= 200 then
    wrong = wrong + 1
  end
end

function done(summary)
  local wrong_answers = 0
  for _, thread in ipairs(loaders) do
    wrong_answers = wrong_answers + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "wrong": %d, "broken": %d}\n',
    summary.requests,
    wrong_answers,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
