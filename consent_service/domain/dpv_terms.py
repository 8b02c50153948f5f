"""Terms of the W3C Data Privacy Vocabulary (DPV) that a notice may use.

Written by `tools/dpv_terms.py` from dpv.csv and pd.csv of DPV 2.3; do not edit by hand.
Source: https://w3id.org/dpv and https://w3id.org/dpv/pd, by the W3C Data Privacy Vocabularies and Controls
Community Group, under the W3C Software and Document License
(https://www.w3.org/copyright/software-license-2023/). Only names of terms are taken.
"""

DPV_VERSION = "2.3"
"""The release of DPV that the lists below are taken from."""

NAMESPACES = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
}
"""What the prefix of a term stands for."""

# What a term is: every term whose type or chain of broader terms leads to dpv:Purpose.
PURPOSE_TERMS = frozenset(
    """
    dpv:AcademicResearch dpv:AccountManagement dpv:Advertising dpv:AgeVerification
    dpv:CombatClimateChange dpv:CommercialPurpose dpv:CommercialResearch
    dpv:CommunicationForCustomerCare dpv:CommunicationManagement dpv:CounterMoneyLaundering
    dpv:Counterterrorism dpv:CustomerCare dpv:CustomerClaimsManagement dpv:CustomerManagement
    dpv:CustomerOrderManagement dpv:CustomerRelationshipManagement dpv:CustomerSolvencyMonitoring
    dpv:DataAltruism dpv:DataAvailabilityAssessment dpv:DataGovernance
    dpv:DataInteroperabilityAssessment dpv:DataInteroperabilityImprovement
    dpv:DataInteroperabilityManagement dpv:DataInventoryManagement dpv:DataQualityAssessment
    dpv:DataQualityImprovement dpv:DataQualityManagement dpv:DataSecurityManagement
    dpv:DataSuitabilityAssessment dpv:DeliveryOfGoods dpv:DirectMarketing dpv:DisputeManagement
    dpv:EnforceAccessControl dpv:EnforceSecurity dpv:EstablishContractualAgreement
    dpv:FraudPreventionAndDetection dpv:FulfilmentOfContractualObligation dpv:FulfilmentOfObligation
    dpv:HumanResourceManagement dpv:IdentityAuthentication dpv:IdentityVerification
    dpv:ImproveExistingProductsAndServices dpv:ImproveHealthcare dpv:ImproveInternalCRMProcesses
    dpv:ImprovePublicServices dpv:ImproveTransportMobility dpv:IncreaseServiceRobustness
    dpv:InternalResourceOptimisation dpv:LegalCompliance dpv:MaintainFraudDatabase dpv:Marketing
    dpv:MemberPartnerManagement dpv:MetadataManagement dpv:MisusePreventionAndDetection
    dpv:NonCommercialPurpose dpv:NonCommercialResearch dpv:OptimisationForConsumer
    dpv:OptimisationForController dpv:OptimiseUserInterface dpv:OrganisationComplianceManagement
    dpv:OrganisationGovernance dpv:OrganisationRiskManagement dpv:PaymentManagement
    dpv:Personalisation dpv:PersonalisedAdvertising dpv:PersonalisedBenefits
    dpv:PersonnelBehaviourMonitoring dpv:PersonnelHiring dpv:PersonnelManagement
    dpv:PersonnelMonitoring dpv:PersonnelOffboarding dpv:PersonnelOnboarding dpv:PersonnelPayment
    dpv:PersonnelPerformanceEvaluation dpv:PersonnelPerformanceManagement
    dpv:PersonnelPerformanceMonitoring dpv:PersonnelPerformancePrediction
    dpv:PersonnelPromotionManagement dpv:PersonnelTerminationManagement
    dpv:PersonnelWorkloadManagement dpv:PoliticalCampaign dpv:ProtectionOfIPR
    dpv:ProtectionOfNationalSecurity dpv:ProtectionOfPublicSecurity dpv:ProvideEventRecommendations
    dpv:ProvideOfficialStatistics dpv:ProvidePersonalisedRecommendations
    dpv:ProvideProductRecommendations dpv:PublicBenefit dpv:PublicPolicyMaking dpv:PublicRelations
    dpv:RecordManagement dpv:RecruitmentAdvertising dpv:RecruitmentApplicantBackgroundCheck
    dpv:RecruitmentApplicantCriminalBackgroundCheck
    dpv:RecruitmentApplicantInformationAuthentication dpv:RecruitmentApplicantSelection
    dpv:RecruitmentApplicationAnalysis dpv:RecruitmentApplicationManagement
    dpv:RecruitmentApplicationScreening dpv:RecruitmentInterviewAnalysis
    dpv:RecruitmentInterviewAssessment dpv:RecruitmentInterviewManagement
    dpv:RecruitmentInterviewScheduling dpv:RecruitmentManagement dpv:RecruitmentTargetedAdvertising
    dpv:RepairImpairments dpv:RequestedServiceProvision dpv:ResearchAndDevelopment
    dpv:RightsFulfilment dpv:ScientificResearch dpv:SearchFunctionalities dpv:SellDataToThirdParties
    dpv:SellInsightsFromData dpv:SellProducts dpv:SellProductsToDataSubject
    dpv:ServiceAccessDetermination dpv:ServiceManagement dpv:ServiceMonitoring
    dpv:ServiceOptimisation dpv:ServicePersonalisation dpv:ServiceProvision dpv:ServiceRegistration
    dpv:ServiceUsageAnalytics dpv:SocialMediaMarketing dpv:TargetedAdvertising
    dpv:TechnicalServiceProvision dpv:UserInterfacePersonalisation dpv:VendorManagement
    dpv:VendorPayment dpv:VendorRecordsManagement dpv:VendorSelectionAssessment dpv:Verification
    """.split(),
)
"""Terms that say what data is used for; dpv:Purpose itself says nothing and is not among them."""

# Every term whose type or chain of broader terms leads to dpv:PersonalData.
DATA_TERMS = frozenset(
    """
    dpv:CollectedPersonalData dpv:ContextuallyAnonymisedData dpv:DerivedPersonalData
    dpv:GeneratedPersonalData dpv:IdentifyingPersonalData dpv:InferredPersonalData
    dpv:ObservedPersonalData dpv:ProvidedPersonalData dpv:PseudonymisedData
    dpv:SensitivePersonalData dpv:SpecialCategoryPersonalData pd:Accent pd:AccountIdentifier
    pd:Acquaintance pd:Age pd:AgeExact pd:AgeRange pd:ApartmentOwned pd:Association pd:Attitude
    pd:Authenticating pd:AuthenticationHistory pd:BankAccount pd:Behavioural pd:Biometric
    pd:BirthCountry pd:BirthDate pd:BirthPlace pd:BloodType pd:BrowserFingerprint pd:BrowserHistory
    pd:BrowsingBehaviour pd:BrowsingReferral pd:CallLog pd:CarOwned pd:Character pd:Citizenship
    pd:City pd:Communication pd:CommunicationsMetadata pd:Connection pd:Contact pd:Country pd:Credit
    pd:CreditCapacity pd:CreditCardNumber pd:CreditRecord pd:CreditScore pd:CreditStanding
    pd:CreditWorthiness pd:Criminal pd:CriminalCharge pd:CriminalConviction pd:CriminalOffence
    pd:CriminalPardon pd:CurrentEmployment pd:CurrentLocation pd:DNACode pd:Demeanour pd:Demographic
    pd:DeviceApplications pd:DeviceBased pd:DeviceOperatingSystem pd:DeviceSoftware pd:Dialect
    pd:DigitalFingerprint pd:Disability pd:DisciplinaryAction pd:Dislike pd:Divorce pd:Domicile
    pd:DrugTestResult pd:Education pd:EducationExperience pd:EducationQualification
    pd:EducationTraining pd:EmailAddress pd:EmailAddressPersonal pd:EmailAddressWork pd:EmailContent
    pd:Emotion pd:EmploymentHistory pd:EthnicOrigin pd:Ethnicity pd:External pd:FacialExpression
    pd:FacialPrint pd:Family pd:FamilyHealthHistory pd:FamilyStructure pd:Favourite
    pd:FavouriteColour pd:FavouriteFood pd:FavouriteMusic pd:Fetish pd:Financial pd:FinancialAccount
    pd:FinancialAccountNumber pd:FinancialStatus pd:Fingerprint pd:Friend pd:GPSCoordinate pd:Gender
    pd:GeneralReputation pd:Genetic pd:Geographic pd:GroupMembership pd:GroupProfile pd:HairColour
    pd:Health pd:HealthHistory pd:HealthRecord pd:Height pd:Historical pd:HomeLocation
    pd:HouseNumber pd:HouseOwned pd:Household pd:IPAddress pd:Identifier pd:Identifying pd:Income
    pd:IncomeBracket pd:IndividualHealthHistory pd:IndividualProfile pd:Insurance pd:Intention
    pd:Interaction pd:Interest pd:Internal pd:Job pd:KnowledgeBelief pd:Language pd:LifeHistory
    pd:Like pd:LinkClicked pd:LoanRecord pd:Locality pd:Location pd:MACAddress pd:MaritalStatus
    pd:Marriage pd:MedicalHealth pd:MentalHealth pd:Mood pd:Name pd:Nationality pd:OfficialID
    pd:Offspring pd:Opinion pd:Ownership pd:PINCode pd:Parent pd:Passport pd:Password
    pd:PastEmployment pd:PaymentCard pd:PaymentCardExpiry pd:PaymentCardNumber pd:PerformanceAtWork
    pd:PersonalDocuments pd:PersonalPossession pd:Personality pd:PhilosophicalBelief
    pd:PhysicalAddress pd:PhysicalCharacteristic pd:PhysicalHealth pd:PhysicalTrait pd:Picture
    pd:Piercing pd:PoliticalAffiliation pd:PoliticalOpinion pd:PostalCode pd:Preference
    pd:Prescription pd:PrivacyPreference pd:Proclivity pd:Professional pd:ProfessionalCertification
    pd:ProfessionalEvaluation pd:ProfessionalExperience pd:ProfessionalInterview
    pd:ProfessionalTraining pd:Profile pd:PublicLife pd:PubliclyAvailableSocialMedia pd:Purchase
    pd:PurchasesAndSpendingHabit pd:Race pd:Reference pd:Region pd:Relationship pd:Reliability
    pd:Religion pd:ReligiousBelief pd:Residency pd:Retina pd:RoomNumber pd:Salary pd:Sale pd:School
    pd:SecretText pd:ServiceConsumptionBehaviour pd:Sexual pd:SexualHistory pd:SexualPreference
    pd:Sibling pd:SkinTone pd:Social pd:SocialBehaviour pd:SocialMedia pd:SocialMediaCommunication
    pd:SocialNetwork pd:SocialStatus pd:Street pd:TVViewingBehaviour pd:Tattoo pd:Tax
    pd:TechnicalKnowledge pd:TelephoneNumber pd:Thought pd:Tracking pd:TradeUnionMembership
    pd:Transaction pd:Transactional pd:TravelHistory pd:UID pd:UserAgent pd:Username
    pd:VehicalLicenseNumber pd:VehicalLicenseRegistration pd:Vehicle pd:VehicleLicense
    pd:VehicleUsage pd:VoiceCommunicationRecording pd:VoiceMail pd:Vulnerability pd:Weight
    pd:WorkEnvironment pd:WorkExperience pd:WorkHistory pd:WorkLocation
    """.split(),
)
"""Terms that say what personal data is; dpv:PersonalData itself says nothing and is not among them."""

# Every term whose type or chain of broader terms leads to dpv:SpecialCategoryPersonalData.
SPECIAL_TERMS = frozenset(
    """
    dpv:SpecialCategoryPersonalData pd:Biometric pd:BloodType pd:DNACode pd:Disability
    pd:DrugTestResult pd:EthnicOrigin pd:FacialExpression pd:FacialPrint pd:FamilyHealthHistory
    pd:Fetish pd:Fingerprint pd:Genetic pd:Health pd:HealthHistory pd:HealthRecord
    pd:IndividualHealthHistory pd:MedicalHealth pd:MentalHealth pd:PhilosophicalBelief
    pd:PhysicalHealth pd:PoliticalAffiliation pd:PoliticalOpinion pd:Prescription pd:Proclivity
    pd:Race pd:Religion pd:ReligiousBelief pd:Retina pd:Sexual pd:SexualHistory pd:SexualPreference
    pd:TradeUnionMembership
    """.split(),
)
"""Terms for data of GDPR Art. 9(1): a category of this kind is marked `special: true` in a notice."""


def term_iri(term: str) -> str:
    """Return the IRI of a `prefix:Name` term; raise `KeyError` for a prefix that is not in `NAMESPACES`."""
    prefix, _, name = term.partition(":")
    return NAMESPACES[prefix] + name
