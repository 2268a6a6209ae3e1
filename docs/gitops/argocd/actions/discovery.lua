local status = obj.status or {}
local rolling = status.rollout ~= nil and status.candidate ~= nil
local paused = rolling and status.rollout.phase == "Paused"
local rejected = status.rejected ~= nil and #status.rejected > 0

return {
  promote = {disabled = not paused, displayName = "Promote the candidate", iconClass = "fa fa-fw fa-forward"},
  abort = {disabled = not rolling, displayName = "Abort the rollout", iconClass = "fa fa-fw fa-times-circle"},
  retry = {disabled = not rejected, displayName = "Retry the rejected revision", iconClass = "fa fa-fw fa-redo"},
}
