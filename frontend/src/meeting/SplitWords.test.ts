// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/svelte";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import SplitWords from "./SplitWords.svelte";

afterEach(cleanup);

function open(): { onSplit: ReturnType<typeof vi.fn>; onCancel: ReturnType<typeof vi.fn> } {
  const callbacks = { onSplit: vi.fn(), onCancel: vi.fn() };
  render(SplitWords, { words: ["Who", "goes?", "I", "do."], ...callbacks });
  return callbacks;
}

const focused = (): string | null | undefined => document.activeElement?.textContent;

it("moves between words by arrow keys and stops at the ends", async () => {
  const { onSplit } = open();
  expect(focused()).toBe("goes?");
  await userEvent.keyboard("{ArrowLeft}");
  expect(focused()).toBe("goes?");
  await userEvent.keyboard("{ArrowRight}");
  expect(focused()).toBe("I");
  await userEvent.keyboard("{End}{ArrowDown}");
  expect(focused()).toBe("do.");
  await userEvent.keyboard("{Home}{ArrowRight}{Enter}");
  expect(onSplit.mock.calls).toEqual([[2]]);
});

it("has one tab stop, and never splits before the first word", () => {
  open();
  const words = screen.getAllByTestId("split-word");
  expect(words.map((word) => word.textContent)).toEqual(["goes?", "I", "do."]);
  expect(words.filter((word) => word.tabIndex === 0)).toHaveLength(1);
});

it("is cancelled by Escape", async () => {
  const { onSplit, onCancel } = open();
  await userEvent.keyboard("{Escape}");
  expect(onCancel).toHaveBeenCalledOnce();
  expect(onSplit).not.toHaveBeenCalled();
});
