"""The REST methods that the app uses, each as its documentation describes it."""

from tests.fake_bitrix24.methods import bindings, crm, system, telephony
from tests.fake_bitrix24.rest import Method

METHODS: dict[str, Method] = system.METHODS | telephony.METHODS | crm.METHODS | bindings.METHODS
