"use strict";
// Plain script without modules: pages have to work when they are opened from a file.
(function () {
  var all = function (selector, root) { return Array.prototype.slice.call((root || document).querySelectorAll(selector)); };
  var make = function (name, attributes, text) {
    var element = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { element.setAttribute(key, attributes[key]); });
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // ---- The address keeps what was chosen, so that a view can be linked.
  function readAddress() {
    var found = {};
    location.hash.replace(/^#/, "").split("&").forEach(function (pair) {
      var at = pair.indexOf("=");
      if (at > 0) {
        try { found[pair.slice(0, at)] = decodeURIComponent(pair.slice(at + 1)); } catch (error) { /* not ours */ }
      }
    });
    return found;
  }
  function writeAddress(values) {
    var pairs = Object.keys(values).filter(function (k) { return values[k] !== ""; }).map(function (k) {
      return k + "=" + encodeURIComponent(values[k]);
    });
    try { history.replaceState(null, "", pairs.length ? "#" + pairs.join("&") : location.pathname + location.search); } catch (error) {
      // Some browsers keep the address of a file as it is.
    }
  }

  // ---- Light and dark
  function theme() {
    var button = document.querySelector("[data-theme-button]");
    button.addEventListener("click", function () {
      var root = document.documentElement;
      var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("zoo-theme", root.dataset.theme); } catch (error) { /* private mode: for this page only */ }
    });
  }

  // ---- Sorting
  function sortKey(row, index) {
    var cell = row.cells[index];
    if (!cell || !cell.hasAttribute("data-v")) return null;
    var text = cell.getAttribute("data-v"), number = Number(text);
    return text !== "" && !isNaN(number) ? number : text;
  }
  function compareKeys(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }
  function sortBy(table, index, direction) {
    var body = table.tBodies[0], sign = direction === "descending" ? -1 : 1;
    var rows = all("tr:not(.empty)", body).map(function (row, order) { return { row: row, key: sortKey(row, index), order: order }; });
    rows.sort(function (a, b) {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.order - b.order;
      return sign * compareKeys(a.key, b.key) || a.order - b.order;
    });
    rows.forEach(function (item) { body.appendChild(item.row); });
    all("th", table).forEach(function (th, i) {
      if (i === index) th.setAttribute("aria-sort", direction); else th.removeAttribute("aria-sort");
    });
  }
  function sortable(table) {
    if (table.tBodies.length === 0 || table.tBodies[0].rows.length < 2) return;
    all("thead th", table).forEach(function (th, index) {
      var keyed = all("tr", table.tBodies[0]).some(function (row) { return sortKey(row, index) !== null; });
      if (!keyed) return;
      var button = make("button", { type: "button" }, th.textContent);
      th.textContent = "";
      th.appendChild(button);
      button.addEventListener("click", function () {
        // Numbers start with the largest, words with the first.
        var numbers = th.classList.contains("num") || th.classList.contains("heat");
        var first = numbers && th.dataset.col !== "rank" ? "descending" : "ascending";
        var now = th.getAttribute("aria-sort");
        sortBy(table, index, now === null ? first : now === "ascending" ? "descending" : "ascending");
      });
    });
  }

  // ---- Search, filters, columns, machines
  function controls(form) {
    var group = form.dataset.tools;
    var tables = all("table").filter(function (t) { return t.dataset.group === group; });
    var output = form.querySelector("output");
    var prefix = document.querySelectorAll("[data-tools]").length > 1 ? group + "." : "";

    function rowMatches(row, q, filters) {
      if (q && q.split(/\s+/).some(function (word) { return row.textContent.toLowerCase().indexOf(word) < 0; })) return false;
      return filters.every(function (f) { return (row.getAttribute("data-" + f.name) || "").split("|").indexOf(f.value) >= 0; });
    }
    function apply(keep) {
      var q = form.elements.q.value.trim().toLowerCase();
      var filters = all("select", form).filter(function (s) { return s.name !== "on" && s.value; });
      var shown = 0, total = 0;
      tables.forEach(function (table) {
        var here = 0;
        all("tbody tr:not(.empty)", table).forEach(function (row) {
          row.hidden = !rowMatches(row, q, filters);
          total += 1;
          if (!row.hidden) here += 1;
        });
        shown += here;
        var empty = table.querySelector("tr.empty");
        if (here === 0 && !empty) {
          empty = table.tBodies[0].insertRow();
          empty.className = "empty";
          var cell = empty.insertCell();
          cell.colSpan = table.tHead.rows[0].cells.length;
          cell.textContent = "Nothing here matches.";
        } else if (here > 0 && empty) empty.remove();
      });
      output.textContent = (shown === total ? total : shown + " of " + total) + (total === 1 ? " row" : " rows");
      if (keep !== false) {
        var values = readAddress();
        values[prefix + "q"] = form.elements.q.value.trim();
        all("select", form).forEach(function (s) { values[prefix + s.name] = s.name === "on" && s.value === "0" ? "" : s.value; });
        writeAddress(values);
      }
    }
    function columns() {
      var hidden = all("input[name=col]", form).filter(function (box) { return !box.checked; }).map(function (box) { return box.value; });
      tables.forEach(function (table) {
        all("thead th", table).forEach(function (th, index) {
          var hide = hidden.indexOf(th.dataset.col) >= 0;
          th.toggleAttribute("data-hidden", hide);
          all("tbody tr:not(.empty)", table).forEach(function (row) { row.cells[index].toggleAttribute("data-hidden", hide); });
        });
      });
    }
    function machine() {
      var select = form.elements.on;
      if (!select) return;
      tables.forEach(function (table) {
        all("[data-choices]", table).forEach(function (cell) {
          var choice = cell.dataset.choices.split("|")[Number(select.value)].split("=");
          cell.textContent = choice[0];
          if (choice[1]) cell.setAttribute("data-v", choice[1]); else cell.removeAttribute("data-v");
        });
      });
      var plots = all(".plotted");
      if (plots.length > 1) plots.forEach(function (plot) { plot.hidden = plot.dataset.machine !== select.value; });
    }
    var given = readAddress();
    all("input[name=q], select", form).forEach(function (field) {
      var value = given[prefix + field.name];
      if (value === undefined) return;
      var known = field.tagName !== "SELECT" || all("option", field).some(function (o) { return o.value === value; });
      if (known) field.value = value;
    });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    ["input", "change"].forEach(function (kind) {
      form.addEventListener(kind, function (event) {
        if (event.target.name === "col") columns(); else { machine(); apply(); }
      });
    });
    form.addEventListener("reset", function () { setTimeout(function () { columns(); machine(); apply(); }); });
    document.addEventListener("click", function (event) {
      all("details.columns[open]").forEach(function (box) { if (!box.contains(event.target)) box.open = false; });
    });
    form.addEventListener("keydown", function (event) {
      if (event.key === "Escape") all("details[open]", form).forEach(function (box) { box.open = false; box.querySelector("summary").focus(); });
    });
    columns();
    machine();
    apply(false);
  }

  // ---- What a mark of a plot is, for mouse and keyboard
  function tips() {
    var tip = null;
    function hide() { if (tip) { tip.remove(); tip = null; } }
    all(".plot a").forEach(function (link) {
      var title = link.querySelector("title");
      var text = title.textContent;
      title.remove(); // the browser's own would lie over ours
      function show() {
        hide();
        tip = make("div", { "class": "tip", role: "presentation" }, text);
        document.body.appendChild(tip);
        var mark = link.getBoundingClientRect(), box = tip.getBoundingClientRect();
        var left = Math.min(Math.max(8, mark.left + mark.width / 2 - box.width / 2), innerWidth - box.width - 8);
        tip.style.left = left + scrollX + "px";
        tip.style.top = mark.top + scrollY - box.height - 8 + "px";
      }
      link.addEventListener("mouseenter", show);
      link.addEventListener("focus", show);
      link.addEventListener("mouseleave", hide);
      link.addEventListener("blur", hide);
    });
  }

  function copying() {
    if (!navigator.clipboard) return; // not for files in some browsers
    all(".commands").forEach(function (box) {
      var button = make("button", { type: "button", "class": "copy" }, "Copy");
      button.addEventListener("click", function () {
        var text = all("code", box).map(function (code) { return code.textContent; }).join("\n");
        navigator.clipboard.writeText(text).then(
          function () { button.textContent = "Copied"; },
          function () { button.textContent = "Select and copy"; }
        );
      });
      box.appendChild(button);
    });
  }

  // ---- Two models side by side
  function comparison(form) {
    var data = JSON.parse(document.getElementById("data").textContent);
    var target = document.getElementById("comparison");
    var names = Object.keys(data.models).sort();
    var first = form.elements.a, second = form.elements.b;
    [first, second].forEach(function (select) {
      names.forEach(function (name) { select.appendChild(make("option", { value: name }, name)); });
    });
    var given = readAddress();
    first.value = data.models[given.a] ? given.a : data.start[0];
    second.value = data.models[given.b] ? given.b : data.start.filter(function (n) { return n !== first.value; })[0] || first.value;

    function table(caption, rows, head) {
      var scroll = make("div", { "class": "scroll", tabindex: "0", role: "region", "aria-label": caption });
      var made = make("table");
      made.appendChild(make("caption", {}, caption));
      var top = made.createTHead().insertRow();
      head.forEach(function (text) { top.appendChild(make("th", { scope: "col" }, text)); });
      var body = made.createTBody();
      rows.forEach(function (cells) {
        var row = body.insertRow();
        cells.forEach(function (cell) {
          var td = row.insertCell();
          if (cell && cell.nodeType) td.appendChild(cell); else td.textContent = cell === undefined || cell === "" ? "–" : cell;
        });
      });
      scroll.appendChild(made);
      return scroll;
    }
    function section(title, rows, head, note) {
      if (!rows.length) return;
      target.appendChild(make("h2", {}, title));
      if (note) target.appendChild(make("p", { "class": "intro" }, note));
      target.appendChild(table(title, rows, head));
    }
    function link(href, text) { return make("a", { href: href }, text); }
    function value(found) {
      if (!found) return "–";
      var text = found.value.toFixed(3);
      return found.low === null ? text : text + " [" + found.low.toFixed(3) + ", " + found.high.toFixed(3) + "]";
    }
    function verdict(x, y, board) {
      if (!x || !y) return "–";
      var gap = x.value - y.value, text = (gap < 0 ? "−" : "+") + Math.abs(gap).toFixed(3);
      if (x.low === null || y.low === null) return text;
      var apart = x.low > y.high || y.low > x.high;
      return text + (apart ? "" : ", intervals overlap");
    }
    function draw() {
      var a = data.models[first.value], b = data.models[second.value];
      target.textContent = "";
      var head = ["", first.value, second.value];
      var pick = function (facts, key) { return facts.filter(function (f) { return f[0] === key; }).map(function (f) { return f[1]; })[0]; };
      var keys = a.facts.concat(b.facts).map(function (f) { return f[0]; }).filter(function (k, i, list) { return list.indexOf(k) === i; });
      section("What they are", [["Page", link("models/" + first.value + ".html", a.title), link("models/" + second.value + ".html", b.title)]].concat(
        keys.map(function (k) { return [k, pick(a.facts, k), pick(b.facts, k)]; })), head);

      var boards = Object.keys(data.boards);
      var both = boards.filter(function (r) { return a.measured[r] || b.measured[r]; });
      section("Measured here", both.map(function (r) {
        var x = a.measured[r], y = b.measured[r], board = data.boards[r];
        var flag = function (f) { return f ? value(f) + " · " + f.flag : "–"; };
        return [link(board.href, board.title), board.metric + (board.lower ? " ↓" : " ↑"), flag(x), flag(y), verdict(x, y, board)];
      }), ["Board", "Metric", first.value, second.value, "First − second"], "Overlapping intervals do not mean that two models are equal: they were scored on the same people, and a paired comparison tells more.");
      both.filter(function (r) { return a.measured[r] && b.measured[r]; }).forEach(function (r) {
        var board = data.boards[r];
        section(board.metric + " by label, " + board.title, a.measured[r].labels.map(function (pair) {
          var x = pair[1], y = pick(b.measured[r].labels, pair[0]);
          if (x === null || y === null || y === undefined) return [pair[0], x === null ? "" : x.toFixed(3), y ? y.toFixed(3) : "", ""];
          return [pair[0], x.toFixed(3), y.toFixed(3), (x < y ? "−" : "+") + Math.abs(x - y).toFixed(3)];
        }), ["", first.value, second.value, "First − second"]);
        var pre = make("pre"), code = make("code", {}, "python -m zoo.compare models=" + first.value + "," + second.value + " protocol=" + board.id);
        pre.appendChild(code);
        target.appendChild(pre);
      });
      var published = boards.filter(function (r) { return a.reported[r] || b.reported[r]; });
      var about = function (f) { return f ? f.text + " · " + f.why + " · " + f.source : "–"; };
      section("Reported by others", published.map(function (r) {
        return [link(data.boards[r].href, data.boards[r].title), data.boards[r].metric, about(a.reported[r]), about(b.reported[r])];
      }), ["Board", "Metric", first.value, second.value], "Figures of different papers need not mean the same.");
      var machines = Object.keys(a.times).concat(Object.keys(b.times).filter(function (m) { return !(m in a.times); }));
      machines.forEach(function (m) {
        var x = a.times[m] || {}, y = b.times[m] || {};
        var ways = Object.keys(x).concat(Object.keys(y).filter(function (k) { return !(k in x); })).sort();
        var ms = function (t) { return t ? (t[3] ? "≈" : "") + t[0].toPrecision(3) + (t[1] === null ? "" : " [" + t[1].toPrecision(3) + ", " + t[2].toPrecision(3) + "]") : "–"; };
        section("Milliseconds a face, network alone", ways.map(function (k) { return [k, ms(x[k]), ms(y[k])]; }), head, m + "; ≈: the structure with random weights");
      });
      if (!both.length && !published.length && !machines.length) target.appendChild(make("p", {}, "Nothing is known of either but what they are."));
      writeAddress({ a: first.value, b: second.value });
    }
    form.addEventListener("change", draw);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.querySelector("[data-swap]").addEventListener("click", function () {
      var kept = first.value;
      first.value = second.value;
      second.value = kept;
      draw();
    });
    draw();
  }

  theme();
  all("table").forEach(sortable);
  all("[data-tools]").forEach(controls);
  tips();
  copying();
  all("[data-compare]").forEach(comparison);
})();
