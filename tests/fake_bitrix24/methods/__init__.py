"""The REST methods that the app uses, each as its documentation describes it."""

from tests.fake_bitrix24.methods import bindings, bizproc, crm, reminders, system, telephony, timeline
from tests.fake_bitrix24.rest import Method

# To-dos are activities too: their list and their end are those of all activities.
MODULES = (system, telephony, crm, bindings, bizproc, timeline, reminders)
METHODS: dict[str, Method] = {name: method for module in MODULES for name, method in module.METHODS.items()}
