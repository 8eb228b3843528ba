// News of new steps: pushed by the server, asked for where that does not get through, and none while nobody looks.
import { say } from "./ask.js";

const POLL_MS = 2000, FIRST_MS = 10000, LEAST_MS = 700;

export function startNews(onVersion) {
  const topic = document.body.dataset.topic;
  if (topic === undefined) return;
  const query = topic ? `?${new URLSearchParams(topic.split(" ").map((run) => ["run", run]))}` : "";
  const light = document.getElementById("live");
  let source = null, timer = null, known = null, isPolling = false, due = null, lastMs = 0;

  const heard = (version) => {
    say(light, isPolling ? "following (asking)" : "following");
    if (version === known) return;
    const isFirst = known === null;
    known = version;
    if (isFirst) return; // what is being loaded is of this version
    // A run that makes many steps a second is not drawn many times a second.
    clearTimeout(due);
    const wait = Math.max(0, lastMs + LEAST_MS - performance.now());
    due = setTimeout(() => { lastMs = performance.now(); onVersion(known); }, wait);
  };

  const poll = async () => {
    try {
      const answer = await fetch(`/version${query}`); // with its ETag: mostly a short "304"
      if (answer.ok) heard((await answer.json()).version);
      else say(light, answer.status === 404 ? "this run is gone" : "not following");
      if (answer.status === 404) isPolling = false;
    } catch {
      say(light, "the dashboard does not answer");
    }
    if (isPolling) timer = setTimeout(poll, POLL_MS);
  };

  const fallBack = () => {
    source?.close();
    source = null;
    if (isPolling) return;
    isPolling = true;
    poll();
  };

  const start = () => {
    if (document.hidden || source || isPolling) return;
    source = new EventSource(`/events${query}`);
    timer = setTimeout(fallBack, FIRST_MS);
    source.addEventListener("version", (event) => { clearTimeout(timer); heard(JSON.parse(event.data)); });
    source.addEventListener("error", () => { if (source?.readyState === EventSource.CLOSED) fallBack(); else say(light, "the dashboard does not answer"); });
  };

  const stop = () => {
    source?.close();
    source = null;
    isPolling = false;
    clearTimeout(timer);
    say(light, "paused");
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", start);
  start();
}
