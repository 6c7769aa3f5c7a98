// The line that says how far the work is; work.js writes there, too.

const panel = window.stochvid.add(element.querySelector(".sv-lines"), () => props.value);
watch("value", () => panel.show());
