// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/svelte";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import EditableText from "./EditableText.svelte";

afterEach(cleanup);

async function edit(): Promise<{ onSave: ReturnType<typeof vi.fn>; field: HTMLInputElement }> {
  const onSave = vi.fn();
  render(EditableText, { text: "Weekly", label: "Rename", onSave });
  await userEvent.click(screen.getByRole("button"));
  return { onSave, field: screen.getByLabelText("Rename") };
}

it("saves on Enter, once", async () => {
  const { onSave, field } = await edit();
  await vi.waitFor(() => expect(field.value).toBe("Weekly"));
  await userEvent.clear(field);
  await userEvent.type(field, "  Daily {Enter}");
  expect(onSave.mock.calls).toEqual([["Daily"]]);
  expect(screen.queryByRole("textbox")).toBeNull();
});

it("saves when the field is left", async () => {
  const { onSave, field } = await edit();
  await userEvent.type(field, "!");
  await userEvent.tab();
  expect(onSave).toHaveBeenCalledOnce();
});

it("cancels on Escape", async () => {
  const { onSave, field } = await edit();
  await userEvent.type(field, "Daily{Escape}");
  expect(onSave).not.toHaveBeenCalled();
  expect(screen.getByRole("button").textContent).toBe("Weekly");
});

it("does not save an unchanged text", async () => {
  const { onSave, field } = await edit();
  await userEvent.type(field, "{Enter}");
  expect(onSave).not.toHaveBeenCalled();
});
