"""Kinds of meetings: which sections their minutes have beside those that all have. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meeting_assistant.domain.errors import InputError


@dataclass(frozen=True, slots=True)
class TemplateSection:
    """A list of items that only this kind of meeting has."""

    key: str
    """In the answer of the model and in the ids of items."""
    title: str
    asks_for: str
    """What belongs here, in words for the model."""


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of meeting."""

    name: str
    title: str
    sections: tuple[TemplateSection, ...] = ()
    about: str = ""
    """What kind of meeting it is, in words for the model."""


GENERAL = Template("general", "General")
TEMPLATES = {
    template.name: template
    for template in (
        GENERAL,
        Template(
            "standup",
            "Stand-up",
            (
                TemplateSection("done", "Done", "what somebody finished since the last time, and who"),
                TemplateSection("next", "Next", "what somebody works on next, and who"),
                TemplateSection("blocked", "In the way", "what keeps somebody from going on, and whom"),
            ),
            "A short round in which each says what is done, what comes next and what is in the way.",
        ),
        Template(
            "one_to_one",
            "One-to-one",
            (
                TemplateSection(
                    "feedback", "Feedback", "what one of the two tells the other about their work"
                ),
                TemplateSection("growth", "Growth", "what somebody wants to learn or to become"),
                TemplateSection("concerns", "Concerns", "what worries one of the two"),
            ),
            "Two people who work together talk about how it goes.",
        ),
        Template(
            "interview",
            "Interview",
            (
                TemplateSection("experience", "Experience", "what the candidate says to have done"),
                TemplateSection("strengths", "Strengths", "answers that speak for the candidate"),
                TemplateSection("doubts", "Doubts", "answers that leave a doubt"),
                TemplateSection("asked", "Asked by the candidate", "what the candidate wants to know"),
            ),
            "Somebody is interviewed for a position.",
        ),
        Template(
            "customer_call",
            "Customer call",
            (
                TemplateSection("needs", "Needs", "what the customer wants to reach or is missing"),
                TemplateSection("objections", "Objections", "what the customer doubts or refuses"),
                TemplateSection("promises", "Promises", "what the customer was promised"),
            ),
            "People talk with a customer.",
        ),
        Template(
            "lecture",
            "Lecture",
            (
                TemplateSection(
                    "concepts", "Concepts", "terms and ideas that are explained, with the explanation"
                ),
                TemplateSection("examples", "Examples", "examples that are given"),
                TemplateSection("references", "References", "works and people that are named to look up"),
            ),
            "One person teaches, others listen and ask.",
        ),
    )
}


def template_named(name: str | None) -> Template:
    """Return a template by name, `general` for None. Raises InputError for one that does not exist."""
    template = TEMPLATES.get(name or GENERAL.name)
    if template is None:
        raise InputError(
            f"There is no template {name!r}.", f"Use one of: {', '.join(TEMPLATES)}.", code="unknown_template"
        )
    return template
