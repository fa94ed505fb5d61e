"""The words that the English rules know.

Tuned for precision: a verb that is not listed is not a task. Verbs that often describe the meeting itself or
private life (`take`, `make`, `get`) count only with an object from work or with a deadline; verbs of telling
and showing only with a deadline, because people do those things on the spot.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def any_of(phrases: str) -> str:
    """Comma-separated phrases (or patterns) as one group, longest first."""
    ordered = sorted((" ".join(p.split()) for p in phrases.split(",")), key=len, reverse=True)
    return "(?:" + "|".join(ordered) + ")"


ERRANDS = any_of("""
    send, resend, email, mail, circulate, distribute, forward, submit, schedule, reschedule, arrange,
    organise, organize, investigate, research, follow up, find out, figure out, look into, dig into, get back
    to, get in touch with, reach out, reach out to, contact, coordinate, compile, collect, gather, review(?!
    what), update, upload, publish, document, summarise, summarize, double check, notify, inform, talk to,
    talk with, speak to, speak with, check, check with, check in with, invite, hire, recruit, negotiate,
    renew, escalate, proofread, fix, repair, chase, chase up, ping, sync with, sort out, sign off, reply to,
    respond to, report back, liaise with, meet with, interview, survey, onboard, follow up with, follow up on,
    prepare, draft, rewrite, write up, translate, test, verify, clean up
""")
"""Tasks that are done after the meeting, so that even a soft cue is worth a note."""

_PRONOUN = "(?:it|that|this|these|those|them)"
_DESK = any_of(
    f"""
    redraft, deliver, finalise, finalize, implement, post, share(?! a story), file, deploy, revise, create,
    set up, put together, come up with, build(?! on), design, redesign, migrate, upgrade, install, configure,
    analyse, analyze, estimate, measure, calculate, validate, confirm, clarify, purchase, approve, merge,
    refactor, edit, register, monitor, work out, make sure, ensure, tidy up, resolve, roll out, roll back,
    benchmark, profile, debug, prototype, evaluate, assess, compare, produce, outline, take care of, take
    over, take ownership of, hand over(?! to), print out, wire up, switch off, shut down, move(?! on),
    replace, remove, rename, handle, push, pull together, line up, train, scope, spec out, cost, price,
    invoice, look up, brief, audit, archive, back up, restore, export, import, convert, get in touch, rework,
    adjust, simplify, extend, reduce, clarify with, set (?:the|a|an), draw up, work on, carry out,
    (?:find|figure|look|write|sort|work|set|put|follow|hand|fill|type|clean) {_PRONOUN}
    (?:out|up|together|over|in)
"""
)
_ASK_THEM = (
    r"ask(?= (?!you |your )(?:[a-z']+ ){1,6}(?:if|whether|about|for) )"
    r"(?!(?: [a-z']+){1,4} to (?:speak|go|say|talk|comment|answer|add|start|explain|present|introduce) )"
)

_EVERYDAY = any_of("""
    do, redo, write, make, finish(?! with| by saying| my point), complete, get, put, put up, bring, give,
    take(?! questions| you| us| the floor| this moment| a moment), add(?! that), change, buy, order, book,
    call, phone, ring, ask, open, close, run, look for, look over, work with, keep, cancel, pick up, plan,
    sketch, try out, lead, own, let [a-z]+ know, let [a-z]+ [a-z]+ know, start on, host, cover, fill in, fill
    out, type up, note down, write down, explore, examine, study, sign, launch, release, ship, reserve, rent,
    hand in, pay, print, scan, have a look at, take a look at, have a look, take a look
""")

_SPOKEN = any_of("""
    show, present, tell, remind, go over, go through, look at, read, answer, propose, announce, raise, record,
    draw, give (?:you|us|everyone|everybody|a brief|a short|a quick|an overview), start, begin, join, attend,
    try
""")

ADVERBS = (
    r"(?:(?:also|then|certainly|definitely|gladly|happily|personally|absolutely|of course|surely|"
    r"go ahead and|go and|"
    r"be sure to|still|be happy to|have to|need to) )*"
)
_HAVE_READY = r"have(?= (?:[a-z0-9']+ ){1,6}(?:ready|done|finished|prepared|fixed|written)(?: |$))"
TASK = (
    rf"(?P<task>(?P<desk>{ERRANDS}|{_DESK}|{_ASK_THEM}|{_HAVE_READY})|(?P<spoken>{_SPOKEN})|"
    rf"(?P<everyday>{_EVERYDAY}))(?= |$)"
)
"""A task verb: `desk` for the ones that mean work by themselves, `spoken` for telling and showing."""

ERRAND = re.compile(ERRANDS + r"(?= |$)")

ASKS_SOMETHING = _words(
    "find figure check clarify ask see verify confirm work determine investigate know explore"
)
"""Verbs after which `if`, `whether`, `what` begin an object, not a new clause."""

_IN_THE_ROOM = (
    "screen,microphone,mic,camera,window,door,volume,slide ?show,next slide,projector,recording,laptop,cable"
)
HAPPENS_NOW = re.compile(
    r"\b(?:(?:right|just) now|(?:real|really) quick|(?:for|in) a (?:second|minute|moment|sec|bit)|"
    r"one (?:second|moment)|"
    r"on the (?:white ?board|board|screen|blackboard|flip ?chart|projector)|as we speak|next slide|"
    r"this slide|"
    rf"(?:my|the|your|this) {any_of(_IN_THE_ROOM)}|write {_PRONOUN} down|call {_PRONOUN} a|call upon|"
    rf"point of order)\b"
)
NOW_WORDS = _words(
    "just quickly now briefly first start again shortly simply maybe perhaps probably possibly never not"
)

_PRIVATE_LIFE = """
    coffees?, teas?, lunch, dinner, breakfast, brunch, drinks?, beers?, wine, pizzas?, cakes?, cookies?,
    snacks?, sandwich(?:es)?, pancakes?, lasagna, barbecue, bbq, restaurant, pub, bar, recipe, groceries,
    milk, cinema, movies?, concert, netflix, football, soccer, tennis, golf, gym, yoga, jog, jogging,
    marathon, hike, hiking, beach, pool, zoo, museum, holidays?, vacation, weekend, birthday, wedding,
    christmas, party, garden, gardening, weather, rain, raining, rained, rainy, snow, snowing, sunny, mum,
    mom, mother, dad, father, parents, wife, husband, girlfriend, boyfriend, kids?, children, child,
    daughters?, sons?, babies, baby, grandma, grandmother, grandpa, aunt, uncle, cousin, sister, brother,
    nephew, niece, dogs?, puppy, cats?, kitten, vet, dentist, hairdresser, laundry, dishes, bike, bicycle,
    traffic, umbrella, guitar, piano, homework, school run, landlord, neighbou?rs?, plumber, sofa, couch,
    bedroom, kitchen, postcards?, thai, sushi, salad, soup, food, meal, episode, bed, nap, song, songs, sleep,
    fridge, shopping, trains?, bus, taxi, flights?, plane, airport, hotel
"""
SMALL_TALK = re.compile(rf"\b{any_of(_PRIVATE_LIFE)}\b")
"""Private life. A line with one of these words is never an item."""

PRIVATE_PHRASE = re.compile(
    r"\b(?:(?:send|show|email) (?:you|them|her|him) (?:some |a |the |my )?(?:pictures?|photos?|pics?|"
    r"selfies?)|my (?:car|house|"
    r"flat|apartment|friends?|doctor|back|knee)|gained? (?:some )?weight|last night|"
    r"plans for (?:tonight|later))\b"
)

_WORK = """
    lists?, slides?, deck, reports?, minutes, notes, documents?, docs?, documentation, specs?, specification,
    designs?, drafts?, plans?, pages?, tickets?, issues?, tasks?, agenda, numbers, figures, budget, data,
    code, tests?, testing, builds?, release, contracts?, proposals?, presentations?, estimates?, schedule,
    timeline, roadmap, road map, reviews?, interviews?, surveys?, meetings?, demos?, prototypes?, mock ?ups?,
    analysis, summary, summaries, offers?, features?, bugs?, migration, servers?, database, accounts?,
    invoices?, prices?, pricing, customers?, clients?, suppliers?, vendors?, teams?, questionnaires?,
    checklist, backlog, stor(?:y|ies), sprint, training, videos?, logos?, websites?, emails?, announcement,
    launch, marketing, campaign, action, section, feedback, metrics, dashboard, charts?, spreadsheets?,
    forms?, licen[cs]es?, repository, repo, branch, pull request, deployment, rollout, pipeline, integration,
    api, app, backend, front ?end, architecture, security, audit, legal, finance, compliance, sales, support,
    engineering, management, permissions?, requirements?, components?, interface, layout, workshop, venue,
    catering, room, press, blog, newsletter, translations?, copy, texts?, wording, samples?, quotes?, orders?,
    parts, hardware, equipment, hosting, costs?, forecast, models?, experiments?, results, evaluation,
    benchmarks?, research, paper, abstract, proofs?, tender, policy, rota, on call, monitoring, alerts?,
    logs?, incident, post ?mortem, retro, templates?, onboarding, job, vacancy, candidates?, usability, user
    testing, colou?rs?, help desk, handbook, manual, providers?, partners?, managers?, boss, colleagues?,
    director, supervisor, lawyers?, assistant, agency, bank, printer, laptops?, users?, orders
"""
WORK_NOUN = re.compile(rf"\b{any_of(_WORK)}\b")

_WHO = "(?:i|we|you|he|she|they|it|that|there)"
BREAKS = re.compile(
    r"(?:(?:because|but|although|though|however|whereas|unless|okay|which|yeah|yes|thanks|i)\b|thank you|"
    rf"so (?:that )?(?:{_WHO}|then|now|let|can|could|is|are|the|this|if|what|anyway)\b|"
    rf"and (?:then )?(?:{_WHO}|let us|what|who|how|can|could|maybe|if|also we|so|this|when|yeah)\b|"
    r"then (?:i|we|you|let us)\b|(?:i|we|you|they) (?:will|am|are|think|guess|mean|hope|can|would|have|"
    r"had|was|were|do|"
    r"did|could|should|know|need|want)\b|please let|let us\b|do you|is (?:that|it|there)\b|are (?:you|"
    r"there|we)\b|does that|"
    r"that is (?:the|a|all|what|why|it|fine|okay|my|our|good)\b|(?:it|there) is\b|as (?:i|we|you)\b|"
    r"all right|sounds good|"
    r"what do|how about|what about)"
)
"""What opens a new clause in speech that may have no punctuation."""

IF_BREAK = re.compile(r"(?:if|whether|when|once|what|how|who|where|why|after|until)\b")

_WITH_PRONOUN = (
    r"(?:to|with|for|at|on|off|up|about|in|over|out|back|down) (?:you|it|that|this|them|him|her|everyone|"
    r"everybody|"
    r"you all|you guys|people|the team|us)"
)
PRONOUN_OBJECT = re.compile(
    r"^(?:it|that|this|them|those|these|one|so|something|anything|everything|some|you|him|her|us|stuff|"
    r"things?|you guys|"
    r"everybody|everyone|that one|this one|all of (?:it|that|them)|a bit|a little)?"
    rf"(?: ?(?:{_WITH_PRONOUN}|as well|too|again|then|now|later|soon|here|there|up|out|off|down|and|all|"
    rf"over|in the meantime|"
    r"(?:after|before|for|at|in) (?:every|each|the|our|this|next|that) (?:next )?\w+))*$"
)
"""An object that says nothing by itself."""
