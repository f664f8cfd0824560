// What the entries of the audit call what was done, in words.

const ACTIONS = {
  seed: "first release", thresholds: "thresholds moved", apply: "thresholds replaced", restore: "thresholds restored",
  promote: "bundle promoted", return: "release returned", "change-open": "change asked for", "change-approve": "change approved",
  "change-reject": "change rejected", "change-withdraw": "change withdrawn", "change-comment": "change commented on",
  "experiment-start": "experiment started", "experiment-stop": "experiment stopped", "experiment-phase": "share changed",
  "experiment-verdict": "verdict stored", "experiment-return": "candidate taken back", experiment: "candidate promoted", expire: "a change went back by itself", "restore-snapshot": "restored from a snapshot",
  freeze: "all changes frozen", unfreeze: "freeze lifted", "lift-stop": "stop of the group lifted", "change-publish": "change published", "change-restore": "change taken back", "change-expire": "change went back by itself",
};

/** `thresholds moved`; an action that has no words of its own, as it is. */
export const words = (action) => ACTIONS[action] ?? String(action ?? "a change").replaceAll("-", " ");
