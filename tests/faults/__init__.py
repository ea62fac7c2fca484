"""The fault test: seeded random schedules of faults against the promise about dialling (docs/testing.md).

schedule   what one seed makes: callbacks, what happens to each dial and call, and the steps of everybody
world      one app, one fake portal and one database, wound back for every schedule
scene      what one schedule has under way there
play       playing a schedule: stage, people, workers and calls hold its steps
rules      runs of automation rules, from their post to their result
cards      what is shown of callbacks on cards of the CRM, to-dos, and the erasure of a number
phones     calls whose events and history rows the schedule gives out
zygote     worker processes that die by SIGKILL between two steps of their work
fleet      the same work by processes of Celery, which answer bells in a real Redis
databases  the two kinds, and how they are hurt
checks     the assertions, at every request, after every step and in the end; those about runs are in rule_checks,
           those about cards in card_checks
mutants    the app without its fence, its lease or its settling, to prove that the checks bite
"""
