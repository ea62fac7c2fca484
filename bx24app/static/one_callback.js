// One callback in a view of its own: its actions, its neighbours, what Bitrix24 tells of it, and what changes meanwhile.
import { fetchChange, fetchFragment, send, wordsFor } from "./api.js";
import { act } from "./callback_actions.js";
import { move, openMove } from "./callback/move.js";
import { Parts, exactTimes, toldPlaces } from "./callback/parts.js";
import { LIVE, Follower } from "./follow.js";
import * as frame from "./frame.js";
import { openPath } from "./portal_pages.js";
import { busily, confirmFirst, copy, letGo, localTimes, say } from "./ui.js";

const IN_USE = "input, select, textarea, .question, form";

class OneCallback {
  constructor(view) {
    this.view = view;
    this.root = view.root.querySelector(".one-callback");
    this.id = this.root.dataset.callback;
    this.etag = "";
    this.parts = new Parts(this.root.querySelector(".one"));
    exactTimes(this.root);
    this.leadBack();
    this.follower = new Follower(() => this.look(), this.root.querySelector("[data-connection]"));
    this.pressed = (event) => this.key(event);
    document.addEventListener("keydown", this.pressed);
    this.root.addEventListener("click", (event) => this.clicked(event));
    this.root.addEventListener("submit", (event) => this.submitted(event));
    this.askPortal();
    this.follower.lookNow();
  }

  get one() {
    return this.root.querySelector(".one");
  }

  end() {
    this.follower.end();
    document.removeEventListener("keydown", this.pressed);
  }

  // The list that this one was opened from stands in the address, and goes along.
  leadBack() {
    const query = this.view.query.size ? `?${this.view.query}` : "";
    for (const link of this.root.querySelectorAll("[data-in-list]")) link.hash += query;
  }

  async look() {
    const change = await fetchChange(`/desk/callbacks/${this.id}/now`, this.etag);
    if (change) {
      await letGo();
      if (this.follower.isOver) return false;
      this.etag = change.etag;
      this.show(change.page);
    }
    return LIVE.includes(this.one.dataset.state);
  }

  show(fresh) {
    const [old, now] = [this.one, fresh.querySelector(".one")];
    if (old.dataset.version === now.dataset.version) return;
    localTimes(fresh);
    const asked = toldPlaces(old).length;
    this.parts.show(now);
    if (old.dataset.state !== now.dataset.state) {
      this.root.querySelector("[data-announcer]").textContent = now.dataset.announcement;
    }
    for (const name of ["version", "state", "announcement"]) old.dataset[name] = now.dataset[name];
    if (toldPlaces(this.one).length > asked) this.askPortal();
  }

  // The portal is asked with the reader's own rights; nothing else of the view waits for its answer.
  async askPortal() {
    if (!toldPlaces(this.one).length) return;
    try {
      const told = await fetchFragment(`/desk/callbacks/${this.id}/bitrix24`);
      for (const place of toldPlaces(this.one)) {
        place.replaceChildren(...told.querySelector(`[data-told="${place.dataset.told}"]`)?.childNodes ?? []);
      }
    } catch (error) {
      const recording = this.one.querySelector('[data-told="recording"]');
      if (recording) recording.textContent = wordsFor(error);
    }
  }

  key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.(IN_USE)) {
      if (event.key === "Escape") this.keep();
      return;
    }
    const link = { Escape: ".back a", j: "[data-after]", k: "[data-before]" }[event.key];
    this.root.querySelector(link ?? ":not(*)")?.click();
  }

  keep() {
    const form = this.root.querySelector("[data-move]");
    if (!form || form.hidden) return;
    form.hidden = true;
    this.root.querySelector('[data-action="move"]').focus();
  }

  get problem() {
    return this.root.querySelector("[data-problem]");
  }

  clicked(event) {
    const button = event.target.closest("button[data-action]");
    if (button) this.work(button, () => this.act(button, button.dataset));
  }

  submitted(event) {
    event.preventDefault();
    this.work(event.submitter, async () => {
      await move(event.target, this.id);
      await this.follower.lookNow();
    });
  }

  work(button, work) {
    busily(button, async () => {
      say(this.problem, "");
      try {
        await work();
      } catch (error) {
        say(this.problem, wordsFor(error), "warning");
        if (error.id) this.problem.append(this.linkTo(error.id));
      }
    });
  }

  linkTo(id) {
    const number = this.root.querySelector(".number, h1").textContent;
    return Object.assign(document.createElement("a"), { href: `#/callbacks/${id}`, textContent: number });
  }

  async act(button, { action, number, copies, done, path, failed }) {
    const own = {
      ask: () => confirmFirst(button),
      move: () => openMove(this.root.querySelector("[data-move]")),
      keep: () => this.keep(),
      phone: () => frame.phone(number) && say(this.problem, this.problem.dataset.elsewhere),
      copy: () => this.copied(copies, done),
      "copy-field": () => copy(button.parentElement.parentElement.querySelector("[readonly]")) && this.tell(button, done),
      block: () => this.block(number, done),
      erase: () => this.view.go("settings/privacy", { given: number }),
      path: async () => (await openPath(path)) || say(this.problem, failed, "warning"),
    }[action];
    if (own) return own();
    const made = await act(this.id, action);
    if (action === "retry") return this.view.go(`callbacks/${made.id}`);
    return this.follower.lookNow();
  }

  async block(number, done) {
    await send("/do-not-call", { method: "POST", json: { number } });
    say(this.problem, done, "success");
  }

  copied(text, done) {
    const field = Object.assign(document.createElement("input"), { value: text, readOnly: true, className: "visually-hidden" });
    const focused = document.activeElement;
    this.problem.before(field);
    if (copy(field)) say(this.problem, done, "success");
    field.remove();
    focused?.focus();
  }

  tell(button, done) {
    button.textContent = done;
  }
}

export function showCallback(view) {
  const one = new OneCallback(view);
  return () => one.end();
}
