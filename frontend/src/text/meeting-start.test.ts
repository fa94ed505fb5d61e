import { expect, it } from "vitest";
import { localInput, meetingMoment, offsetName, startSource, withOffset } from "./meeting-start";

const AT_MS = Date.UTC(2026, 10, 2, 23, 30);

it("is shown on the clocks of the place, which is named where the reader's differ", () => {
  const here = -new Date(AT_MS).getTimezoneOffset();
  const now = new Date(2027, 0, 1);
  const elsewhere = meetingMoment({ began_at_ms: AT_MS, utc_offset_minutes: 330 }, now);
  expect(elsewhere).toContain("(UTC+05:30)");
  expect(elsewhere).toMatch(/\b3\b/);
  expect(meetingMoment({ began_at_ms: AT_MS, utc_offset_minutes: here }, now)).not.toContain("UTC");
});

it("goes through a form and back", () => {
  const start = { began_at_ms: AT_MS, utc_offset_minutes: -210 };
  expect(localInput(start)).toBe("2026-11-02T20:00");
  expect(withOffset(localInput(start), -210)).toBe("2026-11-02T20:00-03:30");
  expect(Date.parse(withOffset(localInput(start), -210))).toBe(AT_MS);
  expect(offsetName(0)).toBe("UTC+00:00");
});

it("says where it comes from", () => {
  expect(startSource({ began_at_source: "metadata" })).toContain("file's own data");
  expect(startSource({ began_at_source: "upload" })).toContain("does not say");
});
