// What is at work, and what the page says of it. The page's buttons follow what really goes over the wire: gradio tells
// nobody of a call that was refused, of a connection that broke, or which of two calls has failed. It is in the head.

window.stochvid = (() => {
  const BROKEN = "That did not work: the connection to the server broke. Please try again.";
  const MANY = "That did not work: too many people are waiting. Please try again in a while.";
  const SILENT = 60_000; // ms without a sign of life (there is one every 15 seconds)
  const ALONE = 5_000; // ms that a run may be without anything to hear of it
  const PARTS = [".sv-head", ".sv-kinds input", ".sv-clip input", ".sv-go", ".sv-say", ".sv-controls [type=range]", ".sv-tile, .sv-player.none"];
  const panels = []; // one for each tab: { box, value, run, show }
  const runs = new Map(); // by the server's number for them
  const ended = new Map(); // what was told of runs before their numbers were known here
  let streams = 0; // that are open
  let last = ""; // how the last run ended
  const fetched = window.fetch.bind(window);

  const sentence = (text, tone = "") => {
    const line = document.createElement("p");
    line.className = `sv-say ${tone}`;
    line.setAttribute("role", tone === "error" ? "alert" : "status");
    line.textContent = text;
    return line;
  };

  const update = (panel) => {
    const controls = panel.box.closest(".sv-controls");
    const [go, end] = controls ? controls.querySelectorAll("button.sv-go, button.sv-stop") : [];
    if (!go || !end) return; // not laid out yet
    go.disabled = Boolean(panel.run);
    end.disabled = !panel.run || panel.run.stopped;
  };

  const add = (box, value) => {
    const panel = { box, value, run: null };
    panel.show = () => (box.innerHTML = value()); // what the server said last, as HTML of its own making
    panel.show();
    panels.push(panel);
    update(panel);
    return panel;
  };

  const say = (panel, text, tone) => panel.box.replaceChildren(sentence(text, tone));

  const begin = (panel, call) => {
    panel.run = { panel, call, id: null, stopped: false, stop: null, told: false, next: null };
    say(panel, "Waiting for its turn");
    update(panel);
    return panel.run;
  };

  const end = (run, text, tone) => {
    if (run.panel.run !== run) return;
    run.panel.run = null;
    clearTimeout(run.stop);
    if (run.id) runs.delete(run.id);
    if (text) say(run.panel, text, tone);
    else run.panel.show();
    update(run.panel);
    if (run.next) run.next();
  };

  const complete = (run, message) => {
    last = run.stopped ? "stopped" : "done";
    if (run.stopped) return end(run, "Stopped.", "done");
    const failed = message.success === false;
    end(run, failed && ((message.output && message.output.error) || BROKEN), "error");
  };

  const stop = async (run) => {
    if (!run || run.stopped) return;
    run.stopped = true;
    say(run.panel, "Stopping");
    update(run.panel);
    run.stop = setTimeout(() => end(run, "Stopped.", "done"), 10_000);
    if (run.id) await cancel(run);
  };

  const cancel = async (run) => {
    const { session_hash, fn_index } = run.call;
    const body = JSON.stringify({ session_hash, fn_index, event_id: run.id });
    try {
      await fetched(run.call.cancel, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    } catch {
      end(run, BROKEN, "error");
    }
  };

  const join = async (address, options) => {
    const call = { ...JSON.parse(options.body), cancel: address.replace(/queue\/join.*/, "cancel") };
    const panel = panels.find((one) => one.box.offsetParent) || panels[0];
    if (!panel) return fetched(address, options);
    if (panel.run) return new Promise(() => {}); // one thing at a time
    const run = begin(panel, call);
    try {
      const answer = await fetched(address, options);
      const told = await answer.clone().json().catch(() => ({}));
      if (!answer.ok || !told.event_id) {
        const words = answer.status === 400 || answer.status === 404 ? told.detail : "";
        const detail = answer.status === 503 ? MANY : typeof words === "string" && words ? words : BROKEN;
        end(run, detail, "error");
        return new Response(JSON.stringify({ detail }), { status: 500 });
      }
      run.id = told.event_id;
      runs.set(run.id, run);
      if (ended.has(run.id)) complete(run, ended.get(run.id));
      else if (run.stopped) cancel(run);
      setTimeout(() => panel.run === run && !streams && (cancel(run), end(run, BROKEN, "error")), ALONE);
      return answer;
    } catch {
      end(run, BROKEN, "error");
      return new Response(JSON.stringify({ detail: BROKEN }), { status: 500 });
    }
  };

  // Reads along what the server tells of runs. gradio gets the same bytes, and a proper end if there was none: it would
  // load the page anew, or wait for ever.
  const listen = async (address, options) => {
    const answer = await fetched(address, options).catch(() => null);
    const reader = answer && answer.ok && answer.body ? answer.body.getReader() : null;
    streams += 1;
    const start = async (controller) => {
      const done = reader ? await relay(reader, controller) : [];
      streams -= 1;
      const left = options && options.signal && options.signal.aborted ? [] : [...runs.values()];
      const last = left.map((run) => ({ msg: "process_completed", event_id: run.id, output: { error: BROKEN }, success: false }));
      const text = [...last, { msg: "close_stream" }].map((message) => `data: ${JSON.stringify(message)}\n\n`).join("");
      try {
        if (left.length || !reader) controller.enqueue(new TextEncoder().encode(text));
        controller.close();
      } catch {} // gradio has left
      setTimeout(() => {
        done.forEach(([run, message]) => complete(run, message)); // gradio has seen that the stream ended
        left.forEach((run, i) => complete(run, last[i]));
      }, 50);
    };
    const source = new ReadableStream({ start: (controller) => void start(controller), cancel: () => reader && reader.cancel() });
    return new Response(source, { headers: { "Content-Type": "text/event-stream" } });
  };

  const relay = async (reader, controller) => {
    const decoder = new TextDecoder();
    const done = [];
    let text = "";
    try {
      for (;;) {
        let timer;
        const silence = new Promise((_, fail) => (timer = setTimeout(fail, SILENT)));
        const part = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
        if (part.done) return done;
        controller.enqueue(part.value);
        const messages = (text + decoder.decode(part.value, { stream: true })).split("\n\n");
        text = messages.pop();
        messages.forEach((message) => note(message, done));
      }
    } catch {
      reader.cancel().catch(() => {});
      return done;
    }
  };

  const note = (text, done) => {
    if (!text.includes('"process_completed"')) return; // views are large
    const message = JSON.parse(text.replace(/^data: /, ""));
    if (message.msg !== "process_completed") return;
    ended.set(message.event_id, message);
    const run = runs.get(message.event_id);
    if (!run) return;
    runs.delete(message.event_id);
    run.told = true;
    done.push([run, message]);
    setTimeout(() => complete(run, message), 500); // if the stream goes on
  };

  window.fetch = (address, options) => {
    const where = typeof address === "string" ? address : address.url || String(address);
    if (/\/gradio_api\/queue\/join(\?|$)/.test(where) && options && options.body) return join(where, options);
    if (/\/gradio_api\/queue\/data(\?|$)/.test(where)) return listen(address, options);
    return fetched(address, options);
  };

  const panelOf = (node) => panels.find((panel) => panel.box.closest(".sv-controls") === node.closest(".sv-controls"));
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("button.sv-stop");
    if (button) stop(panelOf(button).run);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.key === "Enter" && event.target.closest && event.target.closest(".sv-controls input");
    if (!field || !["number", "range", "radio"].includes(field.type)) return;
    setTimeout(() => field.closest(".sv-controls").querySelector("button.sv-go").click());
  });

  // gradio fetches the code of each kind of part by itself, and calls all buttons that reset a slider the same
  const tidy = () => {
    const whole = PARTS.every((part) => document.querySelector(part));
    if (whole) document.documentElement.classList.add("sv-ready"); // nothing is shown before, and so nothing jumps
    panels.forEach(update);
    for (const button of document.querySelectorAll(".sv-controls .block button.reset-button")) {
      const title = button.closest(".block").querySelector('[data-testid="block-info"]');
      const name = title && `Reset ${title.textContent.trim().toLowerCase()}`;
      if (name && button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    }
  };
  new MutationObserver(tidy).observe(document.documentElement, { childList: true, subtree: true });

  // One thing at a time: what somebody asks for while the server is at work is dropped; but between its last word and the
  // end of the run, when they have what they asked for before, it waits.
  const ask = (action) => {
    const panel = panels.find((one) => one.run && one.box.offsetParent);
    if (!panel) action();
    else if (panel.run.told) panel.run.next = action;
  };

  const stopped = () => last === "stopped";
  return { add, ask, stopped };
})();
