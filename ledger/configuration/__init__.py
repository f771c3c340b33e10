"""stillgate.toml: every setting, its unit, its default, and what is said when it is wrong."""

from ledger.configuration.asking import ExtraCallsSection, ProbeSection, RemoteStudentSection, ShadowSection
from ledger.configuration.criteria import CriteriaSection, FairnessSection, RobustnessSection
from ledger.configuration.curation import CurationSection
from ledger.configuration.dialects import JsonSection, OpenAISection, OpenInferenceSection
from ledger.configuration.fields import (
    Address,
    Edges,
    FieldName,
    JsonPointer,
    Name,
    Network,
    OpenShare,
    Section,
    Share,
    Url,
    UrlPath,
    WebhookUrl,
)
from ledger.configuration.governance import GovernanceSection, LicenceSection
from ledger.configuration.judging import (
    CandidateSection,
    FallbackSection,
    GateSection,
    TriggerSection,
    VerdictSection,
)
from ledger.configuration.play import (
    CostPlay,
    LatencyPlay,
    PlaySection,
    SignatureSection,
    SpecializationPlay,
    StabilityPlay,
)
from ledger.configuration.processes import (
    ControlSection,
    DeploymentSection,
    EventKind,
    GatewaySection,
    MonitorSection,
    RetentionSection,
    StudentSection,
    TracingSection,
    WebhookSection,
)
from ledger.configuration.reading import ConfigurationError, load
from ledger.configuration.slices import SliceSection
from ledger.configuration.task import MAX_RULES, TaskSection
from ledger.configuration.teacher import CaptureSection, CredentialSection, TeacherSection
from ledger.configuration.whole import Configuration

__all__ = [
    "MAX_RULES",
    "Address",
    "CandidateSection",
    "CaptureSection",
    "Configuration",
    "ConfigurationError",
    "ControlSection",
    "CostPlay",
    "CredentialSection",
    "CriteriaSection",
    "CurationSection",
    "DeploymentSection",
    "Edges",
    "EventKind",
    "ExtraCallsSection",
    "FairnessSection",
    "FallbackSection",
    "FieldName",
    "GateSection",
    "GatewaySection",
    "GovernanceSection",
    "JsonPointer",
    "JsonSection",
    "LatencyPlay",
    "LicenceSection",
    "MonitorSection",
    "Name",
    "Network",
    "OpenAISection",
    "OpenInferenceSection",
    "OpenShare",
    "PlaySection",
    "ProbeSection",
    "RemoteStudentSection",
    "RetentionSection",
    "RobustnessSection",
    "Section",
    "ShadowSection",
    "Share",
    "SignatureSection",
    "SliceSection",
    "SpecializationPlay",
    "StabilityPlay",
    "StudentSection",
    "TaskSection",
    "TeacherSection",
    "TracingSection",
    "TriggerSection",
    "Url",
    "UrlPath",
    "VerdictSection",
    "WebhookSection",
    "WebhookUrl",
    "load",
]
