"""A notice and the document that is digested and published."""

import json

from consent_service.domain.notice_form import parse_notice
from tests.builders import a_notice


def test_a_published_document_reads_back_to_the_same_notice_with_its_purposes_in_order() -> None:
    notice = a_notice()

    read = parse_notice(json.loads(json.dumps(notice.document(), sort_keys=True)))

    assert read == notice
    assert list(read.purposes) == ["recommendations", "coupons", "support_context", "ai_assistance"]
